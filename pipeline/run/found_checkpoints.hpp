// Checkpoints that lie on this machine, found by their config.json.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace factflow {

// Directories with a config.json and weights, `root` itself or at most three levels below it, in
// the order of their names; what may not be looked into, and what begins with a dot, is passed
// over.
std::vector<std::filesystem::path> checkpoints_below(const std::filesystem::path& root);

// "hf:ORG/NAME" of every model in the Hugging Face cache (model/checkpoint/hub_cache.hpp) that has
// a snapshot of its main revision with a config.json and weights, in the order of their names; none
// if there is no cache.
std::vector<std::string> checkpoints_in_hub_cache();

// A checkpoint in a few words ("gpt2, 12 layers, hidden 128"). `source`: as Checkpoint::resolve()
// takes it. Throws InputError for one that cannot be run.
std::string checkpoint_in_words(const std::string& source);

}  // namespace factflow
