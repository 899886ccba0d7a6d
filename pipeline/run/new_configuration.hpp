// A configuration for people to begin with: commented, and good as it stands.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace factflow {

struct NewConfiguration {
  std::string name;                  // of the run
  std::string dataset;               // absolute path
  std::int64_t limit = 0;            // of prompts; 0 = all
  std::vector<std::string> sources;  // directories (absolute), or hf:ORG/NAME
  std::filesystem::path file;        // where it will stand, for messages
};

struct WrittenConfiguration {
  std::string yaml;  // `validate` has nothing against it
  std::size_t prompts = 0;
  std::vector<std::string> models;    // names of those that it asks
  std::vector<std::string> left_out;  // "SOURCE: why", of those that cannot be asked this
};

// Reads the dataset, and of every source what validate reads. Throws InputError for a dataset that
// cannot be used, and if no source can be asked.
WrittenConfiguration write_configuration(const NewConfiguration& wanted);

}  // namespace factflow
