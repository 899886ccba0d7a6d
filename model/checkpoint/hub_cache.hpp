// The Hugging Face cache on disk, read offline: models--ORG--NAME/refs/REVISION names a commit, and
// models--ORG--NAME/snapshots/COMMIT is a directory of the repository's files (links into
// ../../blobs). Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace factflow {

// A model of the hub that is not on this machine, and the command that brings it here.
class NotDownloaded : public InputError {
 public:
  NotDownloaded(const std::string& where, const std::string& problem, const std::string& command,
                const std::string& otherwise = "");
  const std::string& command() const { return command_; }

 private:
  std::string command_;
};

// "hf download ORG/NAME --revision REVISION" for `model` = ORG/NAME[@REVISION].
std::string download_command(std::string_view model);

// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub,
// else ~/.cache/huggingface/hub; with `~` and `$NAME` where and as huggingface_hub 2.4 expands them
// (its constants.py). Relative if the variable is.
std::filesystem::path hub_cache_root();

// The snapshot of `model` = ORG/NAME[@REVISION] (or the few models without ORG), existing. REVISION
// is a branch or tag, a full commit hash, or a prefix of one (4 digits or more) that fits a single
// snapshot; default main. Throws NotDownloaded that lists what was tried, InputError for what is no
// name of a model and for a cache that is damaged.
std::filesystem::path find_in_hub_cache(std::string_view model);

}  // namespace factflow
