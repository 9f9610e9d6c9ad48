// What int8 pages hold for given K and V of one head, computed plainly from the text of kernels/kv_page.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/kv_page.h"
#include "tensor/half.h"

namespace pagoda {

class Int8Pages {
 public:
  struct Value {
    int level = 0;
    float scale = 0;
  };

  // k, v: [num_tokens][head_dim], all finite.
  Int8Pages(const std::vector<float>& k, const std::vector<float>& v, int head_dim) : head_dim_(head_dim) {
    const auto dims = static_cast<size_t>(head_dim);
    std::vector<float> rest(dims);
    for (size_t token = 0; token < k.size() / dims; ++token) {
      std::vector<float> transformed(&k[token * dims], &k[token * dims] + dims);
      transform(transformed);
      if (token == 0)
        offsets_.push_back(rounded(transformed));
      else if (token % kPageTokens == 0)
        offsets_.push_back(rounded(mean_of_page(token / kPageTokens - 1)));
      for (size_t d = 0; d < dims; ++d) rest[d] = transformed[d] - offsets_.back()[d];
      quantise(rest.data(), k_);
      quantise(v.data() + token * dims, v_);
      add_k_values(static_cast<int64_t>(token));
    }
  }

  // As stored: transformed.
  const Value& k(int64_t token, int d) const { return k_[index(token, d)]; }
  const Value& v(int64_t token, int d) const { return v_[index(token, d)]; }
  // What is stored says about K: transformed back.
  double k_value(int64_t token, int d) const { return k_values_[index(token, d)]; }
  double v_value(int64_t token, int d) const { return double{v(token, d).scale} * v(token, d).level; }
  float offset(int64_t page, int d) const {
    return offsets_[static_cast<size_t>(page)][static_cast<size_t>(d)];
  }

 private:
  size_t index(int64_t token, int d) const { return static_cast<size_t>(token * head_dim_ + d); }

  // The transform is its own inverse, but for a factor: the number of dims.
  template <class T>
  void transform(std::vector<T>& values) const {
    for (int begin = 0; begin < head_dim_; begin += kKvGroupDims) {
      const int count = std::min(kKvGroupDims, head_dim_ - begin);
      if (count != kKvGroupDims && count != 16) continue;
      for (int bit = count / 2; bit > 0; bit /= 2)
        for (int i = 0; i < count; ++i) {
          if ((i & bit) != 0) continue;
          T& a = values[static_cast<size_t>(begin + i)];
          T& b = values[static_cast<size_t>(begin + i + bit)];
          const T sum = a + b;
          b = a - b;
          a = sum;
        }
    }
  }
  void add_k_values(int64_t token) {
    std::vector<double> values;
    for (int d = 0; d < head_dim_; ++d)
      values.push_back(double{offset(token / kPageTokens, d)} +
                       double{k(token, d).scale} * k(token, d).level);
    transform(values);
    for (int d = 0; d < head_dim_; ++d) {
      const int count = std::min(kKvGroupDims, head_dim_ - d / kKvGroupDims * kKvGroupDims);
      if (count == kKvGroupDims || count == 16) values[static_cast<size_t>(d)] /= count;
    }
    k_values_.insert(k_values_.end(), values.begin(), values.end());
  }
  void quantise(const float* values, std::vector<Value>& out) const {
    for (int begin = 0; begin < head_dim_; begin += kKvGroupDims) {
      const int end = std::min(begin + kKvGroupDims, head_dim_);
      float greatest = 0;
      for (int d = begin; d < end; ++d) greatest = std::max(greatest, std::abs(values[d]));
      const float scale = next_bf16(greatest / 127.0f);
      for (int d = begin; d < end; ++d) {
        const float level = scale == 0 ? 0.0f : std::nearbyint(values[d] / scale);
        out.push_back({static_cast<int>(level), scale});
      }
    }
  }
  // The least bf16 that is not below.
  static float next_bf16(float value) {
    float rounded = bf16_to_f32(f32_to_bf16(value));
    if (rounded < value) rounded = bf16_to_f32(static_cast<uint16_t>(f32_to_bf16(value) + 1));
    return rounded;
  }
  static std::vector<float> rounded(std::vector<float> values) {
    for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
    return values;
  }
  std::vector<float> mean_of_page(size_t page) const {
    std::vector<float> mean;
    for (int d = 0; d < head_dim_; ++d) {
      float sum = 0;
      for (int slot = 0; slot < kPageTokens; ++slot) {
        const Value& value = k(static_cast<int64_t>(page) * kPageTokens + slot, d);
        sum = std::fma(value.scale, static_cast<float>(value.level), sum);
      }
      mean.push_back(std::fma(sum, 1.0f / kPageTokens, offset(static_cast<int64_t>(page), d)));
    }
    return mean;
  }

  int head_dim_;
  std::vector<Value> k_;
  std::vector<Value> v_;
  std::vector<double> k_values_;
  std::vector<std::vector<float>> offsets_;  // of each page
};

}  // namespace pagoda
