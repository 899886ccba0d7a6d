// Alone in its file: a test program that defines this function itself gets a file system that fails
// when told to.
#include "base/file_operations.hpp"

namespace factflow {

FileOperations& system_files() {
  static FileOperations files;
  return files;
}

}  // namespace factflow
