#include "jobs/child_process.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"

namespace factflow {
namespace {

constexpr std::size_t kKept = std::size_t{1} << 20;

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0)
      throw RunError(fmt::format("cannot create a pipe: {}", std::strerror(errno)));
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reading() const { return ends_[0]; }
  int writing() const { return ends_[1]; }
  void close(size_t end) {
    if (ends_[end] >= 0) ::close(ends_[end]);
    ends_[end] = -1;
  }

  // What is there now; closes the pipe at its end.
  void read_into(std::string& text) {
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(ends_[0], buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) return close(0);
    text.append(buffer.data(),
                std::min(static_cast<size_t>(got), kKept - std::min(kKept, text.size())));
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

[[noreturn]] void become(std::vector<std::string> words, int out, int err) {
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  ::_exit(127);
}

void drain(Pipe& out, Pipe& err, ChildOutput& output) {
  while (out.reading() >= 0 || err.reading() >= 0) {
    std::array<pollfd, 2> waiting{
        {{out.reading(), POLLIN, 0}, {err.reading(), POLLIN, 0}}};  // poll leaves out negative ones
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;   // a signal
    if (waiting[0].revents != 0) out.read_into(output.out);
    if (waiting[1].revents != 0) err.read_into(output.err);
  }
}

}  // namespace

ChildOutput run_child(const std::vector<std::string>& words) {
  Pipe out, err;
  const pid_t child = ::fork();
  if (child < 0)
    throw RunError(fmt::format("cannot start {}: {}", words.at(0), std::strerror(errno)));
  if (child == 0) become(words, out.writing(), err.writing());
  out.close(1);
  err.close(1);
  ChildOutput output;
  drain(out, err, output);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  output.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

}  // namespace factflow
