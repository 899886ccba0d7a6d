#include "workers/launcher.hpp"

#include <cstdlib>
#include <map>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace factflow {
namespace {

// Variables for the time of a test.
class Variables {
 public:
  using Values = std::map<std::string, std::string>;
  explicit Variables(const Values& values) : values_(values) {
    for (const auto& [name, value] : values_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Variables() {
    for (const auto& [name, value] : values_) ::unsetenv(name.c_str());
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

 private:
  Values values_;
};

// A port on which somebody listens.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 4), 0);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    uri_ = "1234.0;tcp4://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~Listener() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  const std::string& uri() const { return uri_; }

 private:
  int fd_;
  std::string uri_;
};

TEST(Launcher, IsThereWhileItAnswers) {
  EXPECT_FALSE(under_mpi_launcher());
  Listener server;
  const Variables variables({{"OMPI_COMM_WORLD_SIZE", "2"}, {"PMIX_SERVER_URI41", server.uri()}});
  EXPECT_TRUE(under_mpi_launcher());
  server.close();
  EXPECT_FALSE(under_mpi_launcher()) << "it has ended, and left its variables in this shell";
}

TEST(Launcher, VariablesAloneAreNone) {
  const Variables variables({{"OMPI_COMM_WORLD_SIZE", "8"},
                             {"OMPI_COMM_WORLD_RANK", "3"},
                             {"PMIX_RANK", "3"},
                             {"PMI_RANK", "3"}});
  EXPECT_FALSE(under_mpi_launcher());
}

TEST(Launcher, SpeaksOfItsServerInOtherWays) {
  EXPECT_FALSE(under_mpi_launcher());
  const Variables socket({{"PMIX_RANK", "0"}, {"PMIX_SERVER_URI", "pmix-server:17:/tmp/socket"}});
  EXPECT_TRUE(under_mpi_launcher());
}

TEST(Launcher, SrunIsThereForWhatItStarted) {
  const Variables tasks(Variables::Values{{"SLURM_STEP_NUM_TASKS", "4"}});
  EXPECT_EQ(tasks_of_srun(), 1);
  for (const pid_t process : {::getpid(), ::getppid()}) {
    const Variables task(Variables::Values{{"SLURM_TASK_PID", std::to_string(process)}});
    EXPECT_EQ(tasks_of_srun(), 4);
  }
  const Variables other(Variables::Values{{"SLURM_TASK_PID", "999999999"}});
  EXPECT_EQ(tasks_of_srun(), 1);
}

}  // namespace
}  // namespace factflow
