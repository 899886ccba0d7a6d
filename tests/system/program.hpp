// Runs the built `factflow` as a user does, alone or under mpirun, and keeps what it says.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {

struct Ended {
  int code = 0;  // exit code, or minus the number of the signal that ended it
  std::string out, err;

  // Lines on stderr that begin with "factflow:".
  std::vector<std::string> complaints() const;
  // Everything, for a failed expectation.
  std::string all() const;
};

struct Start {
  int ranks = 0;                                   // 0 = without mpirun
  std::filesystem::path directory = source_dir();  // to start in
  // Then it is killed, which counts as a failure.
  std::chrono::seconds patience{300};
  std::map<std::string, std::string> environment = {};  // on top of this process's own
  std::string program = {};                             // in place of factflow
};

// One launch, in a process group of its own. Must be waited for; the destructor kills what still
// runs.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, Start start = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal_group(int number) const;     // the launcher and all ranks
  void signal_launcher(int number) const;  // mpirun, or the program itself
  // The processes of the program itself: the ranks, without mpirun. Ascending process numbers.
  std::vector<pid_t> ranks() const;
  bool running();
  Ended wait();

 private:
  void poll(int options);

  Start start_;
  TemporaryDirectory output_;  // with the files out and err
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

// Whether a process exists and is no zombie.
bool alive(pid_t process);

Ended run_program(const std::vector<std::string>& arguments, const Start& start = {});

}  // namespace factflow::testing
