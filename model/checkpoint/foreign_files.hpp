// Files that a user takes for a checkpoint, or finds in its place, and that factflow does not read:
// what they are and what to do, by their first bytes or by their names.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/text_file.hpp"

namespace factflow {

// By content: nothing for what may be a file of safetensors, a zip archive (as torch.save writes),
// or text. `file`: its name, for the remedy.
std::optional<ForeignFile> foreign_content(std::span<const std::byte> bytes,
                                           const std::string& file);

// Throws InputError if the content is foreign, an empty file and a Git LFS pointer among it.
void refuse_foreign_content(std::span<const std::byte> bytes, const std::string& where);

// Whether the bytes begin as a file of safetensors does: the length of a JSON object, and that.
bool looks_like_safetensors(std::span<const std::byte> bytes);

// Throws InputError: `directory` lacks `missing` ("holds no config.json", "holds no weights"). Says
// what it holds instead, if that is known by name or content; else `remedy`.
[[noreturn]] void refuse_directory(const std::filesystem::path& directory,
                                   const std::string& missing, const std::string& remedy);

// Throws InputError: `file` is none of the directories that are models, and what else, if known.
[[noreturn]] void refuse_file(const std::filesystem::path& file);

}  // namespace factflow
