// What the paths of a configuration file mean.
#pragma once

#include "fields/yaml_tree.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

// Makes the paths of a configuration that was read from config.file, whose tree is `root`, absolute
// and fills in config.paths. hf:ORG/NAME is no path.
void find_paths(Config& config, const YamlNode& root);

}  // namespace factflow
