#include "workers/launcher.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

extern char** environ;

namespace factflow {
namespace {

constexpr std::string_view kServer = "PMIX_SERVER_URI";  // and a version behind it
constexpr std::string_view kTcp = ";tcp4://";            // ID;tcp4://ADDRESS:PORT

bool is_set(const char* name) {
  return std::getenv(name) != nullptr;
}

std::optional<sockaddr_in> address_in(std::string_view server) {
  const std::size_t scheme = server.find(kTcp);
  if (scheme == server.npos) return std::nullopt;
  const std::string place(server.substr(scheme + kTcp.size()));
  const std::size_t colon = place.rfind(':');
  if (colon == place.npos) return std::nullopt;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(place.c_str() + colon + 1)));
  if (::inet_pton(AF_INET, place.substr(0, colon).c_str(), &address.sin_addr) != 1)
    return std::nullopt;
  return address;
}

// Only a refusal says so; whatever else happens is left to MPI to find out.
bool is_gone(const sockaddr_in& address) {
  constexpr int kPatience = 1000;  // milliseconds; the server is on this machine
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  int error = 0;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    error = errno;
  pollfd connected{fd, POLLOUT, 0};
  socklen_t size = sizeof error;
  if (error == EINPROGRESS && ::poll(&connected, 1, kPatience) == 1)
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  ::close(fd);
  return error == ECONNREFUSED;
}

// The launcher's server of PMIx, by which ranks find each other, as the environment names it.
bool server_is_there() {
  bool named = false;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with(kServer)) continue;
    named = true;
    if (const std::optional<sockaddr_in> address = address_in(text)) return !is_gone(*address);
  }
  return named;
}

// Field 4 of /proc/PID/stat, behind a name that may hold spaces; 0 if there is no such process.
pid_t parent_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line, state;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  pid_t parent = 0;
  fields >> state >> parent;
  return parent;
}

bool comes_from(pid_t ancestor) {
  for (pid_t process = ::getpid(); process > 1; process = parent_of(process))
    if (process == ancestor) return true;
  return false;
}

}  // namespace

bool under_mpi_launcher() {
  if (is_set("OMPI_COMM_WORLD_SIZE") || is_set("PMIX_RANK")) return server_is_there();
  return is_set("PMI_RANK") && (is_set("PMI_FD") || is_set("PMI_PORT"));
}

int tasks_of_srun() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  const char* task = std::getenv("SLURM_TASK_PID");
  if (tasks == nullptr || task == nullptr || !comes_from(std::atoi(task))) return 1;
  return std::atoi(tasks);
}

}  // namespace factflow
