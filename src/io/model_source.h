// What a model's files are known by where reading them as a whole would take too long.
#pragma once

#include <string>

#include "io/model_file.h"

namespace pagoda {

// Another text for other files: size, inode, times of last modification and last change of each, and a hash
// of samples of the weights.
std::string describe_source(const ModelFile& file);

}  // namespace pagoda
