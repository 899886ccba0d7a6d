// Other programs, each in an environment of its own: what they do follows from what we tell them,
// not from the shell in which factflow was started.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

namespace factflow {

using Environment = std::map<std::string, std::string>;

// What any program needs of this process's environment and nothing that tells one what to do: who
// the user is (HOME, USER, ...), where programs, libraries and temporary files are (PATH,
// LD_LIBRARY_PATH, TMPDIR), and the variables of the names in `also`; the language is always C, so
// that answers can be read.
Environment clean_environment(const std::vector<std::string>& also = {});

struct ChildProgram {
  std::vector<std::string> words;     // the program, looked up in PATH, and its arguments; no shell
  std::string input = {};             // on its standard input
  std::filesystem::path folder = {};  // where it starts; empty = where this process is
  Environment environment = clean_environment();
  // A child that takes longer is killed, with all that it started; 0 = it may take as long as it
  // likes.
  std::chrono::milliseconds patience{0};
};

struct ChildOutput {
  // Exit code; 128 + n = ended by signal n; as shells have it, 127 = there is no such program and
  // 126 = it cannot be executed.
  int code = 0;
  bool timed_out = false;  // killed after ChildProgram::patience
  std::string out, err;    // the first MiB of each stream
};

// A program that runs until waited for; any number at a time. Its streams are files in memory: they
// need no disk, cannot fill up, and stay open to nobody when the child is gone.
class ChildProcess {
 public:
  // Throws RunError if no process can be made, or `folder` is none. That there is no such program
  // is told by wait.
  explicit ChildProcess(const ChildProgram& program);
  ~ChildProcess();  // kills what was not waited for
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Once. The time of `patience` counts from the start.
  ChildOutput wait();

 private:
  // An unnamed file in memory, owned.
  class Stream {
   public:
    Stream();
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    int get() const { return fd_; }

   private:
    int fd_ = -1;
  };

  void start(const ChildProgram& program);
  bool ended(int* status);
  void kill();

  Stream in_, out_, err_;
  pid_t child_ = -1;
  int not_started_ = 0;  // errno
  bool own_group_ = false;
  std::chrono::steady_clock::time_point deadline_;
};

// To its end.
ChildOutput run_child(const ChildProgram& program);

// Why a child did not do what it should, in words for a message: "sbatch is not on this machine",
// "squeue gave no answer within 20.0 s", "squeue ended with exit code 1: WHAT IT SAID".
std::string failure_of(const ChildProgram& program, const ChildOutput& output);

// A word as a shell takes it back: in single quotes, whatever it holds.
std::string shell_quoted(const std::string& word);
// A command as one types it: words that need no quotes have none.
std::string shell_command(const std::vector<std::string>& words);

}  // namespace factflow
