// Paths as people write them: `~`, and relative to something.
#pragma once

#include <filesystem>
#include <string>

namespace factflow {

// `~`, `~/x` and `~user/x` with the home directory in place of the tilde, as a shell reads them;
// everything else, and an unknown user, as it is.
std::filesystem::path with_home(const std::filesystem::path& path);

// `$NAME` and `${NAME}` with the environment's value in their place, taken as it is; a variable
// that is not set stays as written. Python's os.path.expandvars, which its libraries apply to
// paths.
std::string with_variables(const std::string& path);

// Whether it is no path but names something elsewhere: hf:ORG/NAME, or an address with "://".
bool is_remote(const std::string& source);

// The absolute path that `written` means when it stands in `folder`: `~` and `..` resolved, no
// slash at the end. `..` behind a link stays where taking it out would lead elsewhere.
std::filesystem::path path_from(const std::filesystem::path& folder, const std::string& written);

// path_from() the working directory: what an option of the command line means.
std::filesystem::path path_from_here(const std::string& written);

// For messages about a path that is not there: " (relative to /work)", or nothing if it is
// absolute.
std::string relative_to_what(const std::filesystem::path& path);

}  // namespace factflow
