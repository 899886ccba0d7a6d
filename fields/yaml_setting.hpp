// Keys that are set on a command line, in place of what a file says.
#pragma once

#include <string>

#include "fields/yaml_tree.hpp"

namespace factflow {

// "run.precision=tf32", "models[1].path=/data/gpt2", "sweep.windows.sizes=[1, 5]": the value is
// YAML. Replaces what stands at the key, or adds it; nodes that are set have line 0. Throws
// InputError
// "--set SETTING: ..." for anything else, a key inside of a text and an index that a list does not
// have.
void set_key(YamlNode& root, const std::string& setting);

}  // namespace factflow
