// A check sum over a whole finished file, kept in a short line after its last byte.
//
// HDF5 has check sums for its metadata and for chunks but not for the heaps that hold texts, and
// damage there makes the library crash; so a results file is checked whole before HDF5 sees it.
// HDF5 ignores what follows its end of file.
#pragma once

#include <filesystem>
#include <string>

namespace factflow {

// Appends the line "factflow seal xxh3 DIGEST SIZE\n" of fixed length. Throws RunError. The file is
// not synced.
void seal_file(const std::filesystem::path& path);

// The digest of the sealed bytes, "xxh3:...". Throws InputError if the line is missing or the bytes
// differ.
std::string check_seal(const std::filesystem::path& path);

}  // namespace factflow
