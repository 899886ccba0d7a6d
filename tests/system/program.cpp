#include "tests/system/program.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.hpp"

namespace factflow::testing {
namespace {

std::vector<std::string> command_line(const std::vector<std::string>& arguments,
                                      const Start& start) {
  std::vector<std::string> words;
  if (start.ranks > 0) words = {MPIEXEC, "--oversubscribe", "-n", std::to_string(start.ranks)};
  words.push_back(start.program.empty() ? PROGRAM : start.program);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

void redirect(int descriptor, const std::filesystem::path& file) {
  const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(126);
  ::close(opened);
}

// The parent of a living process; -1 if there is none. Field 4 of /proc/PID/stat, behind a name
// that may hold spaces.
pid_t parent_of(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  std::string line, state;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return -1;
  std::istringstream fields(line.substr(name_end + 1));
  pid_t parent = -1;
  fields >> state >> parent;
  return state == "Z" ? -1 : parent;
}

}  // namespace

std::vector<std::string> Ended::complaints() const {
  std::vector<std::string> found;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("factflow:")) found.push_back(line);
  return found;
}

std::string Ended::all() const {
  return fmt::format("exit code {}\n--- stdout\n{}\n--- stderr\n{}", code, out, err);
}

Program::Program(const std::vector<std::string>& arguments, Start start)
    : start_(std::move(start)) {
  std::vector<std::string> words = command_line(arguments, start_);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    ::setpgid(0, 0);
    redirect(STDOUT_FILENO, output_ / "out");
    redirect(STDERR_FILENO, output_ / "err");
    redirect(STDIN_FILENO, output_ / "in");
    for (const auto& [name, value] : start_.environment) ::setenv(name.c_str(), value.c_str(), 1);
    for (const char* name : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"})
      ::setenv(name, "1", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);  // of Open MPI
    if (::chdir(start_.directory.c_str()) != 0) ::_exit(126);
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  ::setpgid(pid_, pid_);
}

Program::~Program() {
  if (!ended_) {
    signal_group(SIGKILL);
    poll(0);
  }
}

void Program::signal_group(int number) const {
  ::kill(-pid_, number);
}

void Program::signal_launcher(int number) const {
  ::kill(pid_, number);
}

std::vector<pid_t> Program::ranks() const {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (!std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    std::error_code ignored;
    if (std::filesystem::read_symlink(entry.path() / "exe", ignored) !=
        std::filesystem::path(PROGRAM))
      continue;
    const pid_t process = std::stoi(name), parent = parent_of(entry.path());
    if (parent == pid_ || (process == pid_ && parent > 0)) found.push_back(process);
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool alive(pid_t process) {
  return parent_of(std::filesystem::path("/proc") / std::to_string(process)) > 0;
}

void Program::poll(int options) {
  if (!ended_ && ::waitpid(pid_, &status_, options) == pid_) ended_ = true;
}

bool Program::running() {
  poll(WNOHANG);
  return !ended_;
}

Ended Program::wait() {
  const auto deadline = std::chrono::steady_clock::now() + start_.patience;
  bool in_time = true;
  while (running()) {
    if (std::chrono::steady_clock::now() > deadline) {
      in_time = false;
      signal_group(SIGKILL);
      poll(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  Ended ended;
  ended.code = WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
  ended.out = read_file(output_ / "out");
  ended.err = read_file(output_ / "err");
  if (!in_time)
    ended.err += fmt::format("(killed by the test after {} s)\n", start_.patience.count());
  return ended;
}

Ended run_program(const std::vector<std::string>& arguments, const Start& start) {
  return Program(arguments, start).wait();
}

}  // namespace factflow::testing
