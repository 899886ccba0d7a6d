#include "base/child_process.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kKept = std::size_t{1} << 20;
constexpr int kNoProgram = 127, kNotExecutable = 126;
constexpr std::chrono::milliseconds kFirstPause{1}, kLongestPause{50};

// KRB5CCNAME opens home directories that need a ticket.
constexpr const char* kNeeded[] = {
    "HOME", "KRB5CCNAME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER"};

void copy_variable(const char* name, Environment& environment) {
  if (const char* value = std::getenv(name)) environment[name] = value;
}

// The char* lists that exec wants, in words that this object owns.
class WordList {
 public:
  explicit WordList(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  explicit WordList(const Environment& environment) : WordList(assignments(environment)) {}
  char* const* get() const { return pointers_.data(); }

 private:
  static std::vector<std::string> assignments(const Environment& environment) {
    std::vector<std::string> words;
    for (const auto& [name, value] : environment)
      words.push_back(fmt::format("{}={}", name, value));
    return words;
  }

  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

// How the child begins: its streams, its folder, and signals as a new program expects them,
// whatever this process blocks or ignores.
class SpawnSettings {
 public:
  SpawnSettings(bool own_group, const std::filesystem::path& folder) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    if (!folder.empty()) ::posix_spawn_file_actions_addchdir_np(&actions_, folder.c_str());
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    const int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    ::posix_spawnattr_setflags(
        &attributes_, static_cast<short>(own_group ? flags | POSIX_SPAWN_SETPGROUP : flags));
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  void connect(int stream, int as) { ::posix_spawn_file_actions_adddup2(&actions_, stream, as); }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

void put_in(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0)
      throw RunError(fmt::format("cannot write a file in memory: {}", std::strerror(errno)));
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  ::lseek(fd, 0, SEEK_SET);
}

std::string content_of(int fd) {
  std::string text(kKept, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got =
        ::pread(fd, text.data() + size, text.size() - size, static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace

Environment clean_environment(const std::vector<std::string>& also) {
  Environment environment;
  for (const char* name : kNeeded) copy_variable(name, environment);
  environment["LC_ALL"] = "C.UTF-8";
  for (const std::string& name : also) copy_variable(name.c_str(), environment);
  return environment;
}

ChildProcess::Stream::Stream() {
  const int fd = ::memfd_create("factflow child", MFD_CLOEXEC);
  if (fd < 0) throw RunError(fmt::format("cannot make a file in memory: {}", std::strerror(errno)));
  // Above the child's own 0 to 2, even where this process was started without them.
  fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(fd);
  if (fd_ < 0)
    throw RunError(fmt::format("cannot make a file in memory: {}", std::strerror(error)));
}

ChildProcess::Stream::~Stream() {
  if (fd_ >= 0) ::close(fd_);
}

ChildProcess::ChildProcess(const ChildProgram& program)
    : own_group_(program.patience.count() > 0),
      deadline_(std::chrono::steady_clock::now() + program.patience) {
  if (!program.folder.empty() && !std::filesystem::is_directory(program.folder))
    throw RunError(fmt::format("cannot start {} in {}: it is no directory", program.words.at(0),
                               program.folder.string()));
  put_in(in_.get(), program.input);
  start(program);
}

void ChildProcess::start(const ChildProgram& program) {
  SpawnSettings settings(own_group_, program.folder);
  settings.connect(in_.get(), STDIN_FILENO);
  settings.connect(out_.get(), STDOUT_FILENO);
  settings.connect(err_.get(), STDERR_FILENO);
  const WordList words(program.words), environment(program.environment);
  const int error = ::posix_spawnp(&child_, words.get()[0], settings.actions(),
                                   settings.attributes(), words.get(), environment.get());
  if (error == 0) return;
  child_ = -1;
  not_started_ = error;
  if (error == EAGAIN || error == ENOMEM)
    throw RunError(fmt::format("cannot start {}: {}", program.words[0], std::strerror(error)));
}

ChildProcess::~ChildProcess() {
  if (child_ < 0) return;
  kill();
  int status = 0;
  while (!ended(&status)) std::this_thread::sleep_for(kFirstPause);
}

bool ChildProcess::ended(int* status) {
  const pid_t found = ::waitpid(child_, status, WNOHANG);
  if (found == 0 || (found < 0 && errno == EINTR)) return false;
  child_ = -1;
  return true;
}

void ChildProcess::kill() {
  ::kill(own_group_ ? -child_ : child_, SIGKILL);
}

ChildOutput ChildProcess::wait() {
  ChildOutput output;
  if (not_started_ != 0) {
    output.code = not_started_ == ENOENT || not_started_ == ENOTDIR ? kNoProgram : kNotExecutable;
    output.err = std::strerror(not_started_);
    return output;
  }
  int status = 0;
  for (auto pause = kFirstPause; !ended(&status); pause = std::min(2 * pause, kLongestPause)) {
    if (own_group_ && !output.timed_out && std::chrono::steady_clock::now() >= deadline_) {
      output.timed_out = true;
      kill();
    }
    std::this_thread::sleep_for(pause);
  }
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  output.out = content_of(out_.get());
  output.err = content_of(err_.get());
  return output;
}

ChildOutput run_child(const ChildProgram& program) {
  return ChildProcess(program).wait();
}

std::string failure_of(const ChildProgram& program, const ChildOutput& output) {
  const std::string& name = program.words.at(0);
  if (output.code == kNoProgram && output.out.empty())
    return fmt::format("{} is not on this machine", name);
  const std::string& said = output.err.empty() ? output.out : output.err;
  const std::string words =
      said.empty() ? "" : ": " + in_quotes(said.substr(0, said.find_last_not_of(" \n\r") + 1));
  if (output.timed_out)
    return fmt::format("{} gave no answer within {}{}", name,
                       format_duration(std::chrono::duration<double>(program.patience).count()),
                       words);
  return output.code > 128
             ? fmt::format("{} was ended by signal {}{}", name, output.code - 128, words)
             : fmt::format("{} ended with exit code {}{}", name, output.code, words);
}

std::string shell_quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

std::string shell_command(const std::vector<std::string>& words) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::strchr("-_./,:+@%=", c) != nullptr;
  };
  std::string command;
  for (const std::string& word : words) {
    if (!command.empty()) command += ' ';
    const bool bare = !word.empty() && std::all_of(word.begin(), word.end(), plain);
    command += bare ? word : shell_quoted(word);
  }
  return command;
}

}  // namespace factflow
