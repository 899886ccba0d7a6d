// The Hugging Face cache on disk, read offline: models--ORG--NAME/refs/REVISION names a commit, and
// models--ORG--NAME/snapshots/COMMIT is a directory of the repository's files (links into
// ../../blobs). Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace factflow {

// HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub. Throws InputError if none of these variables nor HOME is set.
std::filesystem::path hub_cache_root();

// The snapshot of `model` = ORG/NAME[@REVISION] (or the few models without ORG), existing. REVISION
// is a branch or tag, a full commit hash, or a prefix of one (4 digits or more) that fits a single
// snapshot; default main. Throws InputError that lists what was tried and how to download.
std::filesystem::path find_in_hub_cache(std::string_view model);

}  // namespace factflow
