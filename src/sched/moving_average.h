// Averages that forget.
#pragma once

namespace pagoda {

// Moves `average` towards `value` by the share that the newest counts; the first value is the average.
// 0 stands for no value yet.
inline void move_average(double& average, double value, double newest) {
  average = average > 0 ? average + newest * (value - average) : value;
}

}  // namespace pagoda
