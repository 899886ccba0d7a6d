#include "workers/mpi_transport.hpp"

// The C interface only: the deprecated C++ one does not compile cleanly.
#define OMPI_SKIP_MPICXX 1
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "workers/launcher.hpp"
#include "workers/local_transport.hpp"

namespace factflow {

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);  // may be called before MPI_Init
  const std::string whole(text, static_cast<size_t>(length));
  return whole.substr(0, whole.find_first_of(",\n"));
}

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr int kTag = 1;
constexpr std::size_t kHeaderBytes =
    16;  // kind, worker, unit; all ranks run one program on one kind of machine
constexpr std::size_t kBroadcastChunk = std::size_t{1} << 30;

// Throws RunError in one line for every code but MPI_SUCCESS.
void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  std::string reason(text, static_cast<std::size_t>(length));
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  throw RunError(fmt::format("{} failed: {}", what,
                             reason.empty() ? fmt::format("MPI's error {}", code) : reason));
}

// Sleeps that start short and grow to a millisecond.
class Backoff {
 public:
  microseconds next() { return std::exchange(pause_, std::min(pause_ * 2, microseconds(1'000))); }
  void reset() { pause_ = kFirst; }

 private:
  static constexpr microseconds kFirst{20};
  microseconds pause_ = kFirst;
};

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

std::string to_wire(const Message& message) {
  std::string wire(kHeaderBytes, '\0');
  std::memcpy(wire.data(), &message.kind, 4);
  std::memcpy(wire.data() + 4, &message.worker, 4);
  std::memcpy(wire.data() + 8, &message.unit, 8);
  wire += message.payload;
  return wire;
}

Message from_wire(std::string wire) {
  if (wire.size() < kHeaderBytes) throw RunError("a message from another rank is malformed");
  Message message;
  std::memcpy(&message.kind, wire.data(), 4);
  std::memcpy(&message.worker, wire.data() + 4, 4);
  std::memcpy(&message.unit, wire.data() + 8, 8);
  wire.erase(0, kHeaderBytes);
  message.payload = std::move(wire);
  return message;
}

// Messages between ranks without blocking: a peer that dies in the middle of one must not hold up
// the others.
class Post {
 public:
  explicit Post(MPI_Comm comm) : comm_(comm) {}

  void send(int rank, const Message& message) {
    Outgoing& outgoing = outgoing_.emplace_back(to_wire(message));
    check(MPI_Isend(outgoing.wire.data(), static_cast<int>(outgoing.wire.size()), MPI_BYTE, rank,
                    kTag, comm_, &outgoing.request),
          "sending to another rank");
  }

  // The next complete message, with `worker` = the rank that sent it.
  std::optional<Message> poll() {
    drop_sent();
    start_receiving();
    for (auto& [rank, queue] : incoming_) {
      if (queue.empty() || !done(queue.front().request)) continue;
      Message message = from_wire(std::move(queue.front().wire));
      queue.pop_front();
      message.worker = static_cast<std::uint32_t>(rank);
      return message;
    }
    return std::nullopt;
  }

  bool all_sent() {
    drop_sent();
    return outgoing_.empty();
  }

 private:
  struct Outgoing {
    explicit Outgoing(std::string bytes) : wire(std::move(bytes)) {}
    std::string wire;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  struct Incoming {
    std::string wire;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  static bool done(MPI_Request& request) {
    int flag = 0;
    check(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), "a transfer between ranks");
    return flag != 0;
  }

  void drop_sent() {
    outgoing_.remove_if([](Outgoing& outgoing) { return done(outgoing.request); });
  }

  // Posts a receive of the right size for every message that has announced itself.
  void start_receiving() {
    for (;;) {
      int flag = 0, bytes = 0;
      MPI_Status status;
      check(MPI_Iprobe(MPI_ANY_SOURCE, kTag, comm_, &flag, &status), "looking for messages");
      if (flag == 0) return;
      check(MPI_Get_count(&status, MPI_BYTE, &bytes), "looking for messages");
      // A deque, because MPI holds on to the addresses; per rank, because their order counts.
      Incoming& incoming = incoming_[status.MPI_SOURCE].emplace_back();
      incoming.wire.resize(static_cast<std::size_t>(bytes));
      check(MPI_Irecv(incoming.wire.data(), bytes, MPI_BYTE, status.MPI_SOURCE, kTag, comm_,
                      &incoming.request),
            "receiving from another rank");
    }
  }

  MPI_Comm comm_;
  std::list<Outgoing> outgoing_;
  std::map<int, std::deque<Incoming>> incoming_;
};

// Rank 0: worker 0 by queues, the others by MPI if there are any.
class RankZeroTransport : public CoordinatorTransport {
 public:
  RankZeroTransport(int size, Post* post)
      : size_(size), post_(post), local_(0, from_local_, to_local_) {}
  int workers() const override { return size_; }
  WorkerTransport& local() { return local_; }

  void send(int worker, Message message) override {
    check_payload_size(message);
    message.worker = static_cast<std::uint32_t>(worker);
    if (worker == 0) return to_local_.push(std::move(message));
    post_->send(worker, message);
  }

  std::optional<Message> receive(milliseconds timeout) override {
    if (post_ == nullptr) return from_local_.pop(timeout);
    const Clock::time_point deadline = Clock::now() + timeout;
    Backoff backoff;
    for (;;) {
      if (std::optional<Message> message = post_->poll()) return message;
      const auto left = std::chrono::duration_cast<microseconds>(deadline - Clock::now());
      const microseconds pause =
          std::clamp(backoff.next(), microseconds(0), std::max(left, microseconds(0)));
      if (std::optional<Message> message = from_local_.pop(pause)) return message;
      if (left <= microseconds(0)) return std::nullopt;
    }
  }

 private:
  int size_;
  Post* post_;  // null if this is the only rank
  MessageQueue to_local_, from_local_;
  LocalWorkerTransport local_;
};

// The other ranks. send() only queues, so that receive()'s thread alone is inside MPI.
class RankTransport : public WorkerTransport {
 public:
  RankTransport(int rank, Post& post) : rank_(rank), post_(post) {}
  int worker() const override { return rank_; }

  void send(Message message) override {
    check_payload_size(message);
    message.worker = static_cast<std::uint32_t>(rank_);
    outbox_.push(std::move(message));
  }

  std::optional<Message> receive(milliseconds timeout) override {
    const Clock::time_point deadline = Clock::now() + timeout;
    Backoff backoff;
    for (;;) {
      if (std::optional<Message> message = post_.poll()) {
        message->worker = static_cast<std::uint32_t>(rank_);
        return message;
      }
      const auto left = std::chrono::duration_cast<microseconds>(deadline - Clock::now());
      if (left <= microseconds(0)) return std::nullopt;
      if (std::optional<Message> message = outbox_.pop(std::min(backoff.next(), left))) {
        post_.send(0, *message);
        backoff.reset();
      }
    }
  }

  bool flush(milliseconds timeout) override {
    const Clock::time_point deadline = Clock::now() + timeout;
    Backoff backoff;
    for (;;) {
      while (std::optional<Message> message = outbox_.pop(microseconds(0))) post_.send(0, *message);
      if (post_.all_sent()) return true;
      if (Clock::now() > deadline) return false;
      std::this_thread::sleep_for(backoff.next());
    }
  }

 private:
  int rank_;
  Post& post_;
  MessageQueue outbox_;
};

// srun without the right MPI plugin starts N programs that each believe to be alone, on one output
// directory.
void check_srun(int size) {
  const int tasks = tasks_of_srun();
  if (size > 1 || tasks <= 1 || std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return;
  throw InputError("srun",
                   fmt::format("started {} tasks that do not see each other through MPI", tasks),
                   "use srun --mpi=pmix, or mpirun inside the allocation");
}

}  // namespace

struct Launch::Parts {
  Options options;
  int rank = 0, size = 1, local_rank = 0, ranks_on_node = 1;
  std::string host = host_name();
  MPI_Comm comm = MPI_COMM_NULL;  // null without a launcher
  std::unique_ptr<Post> post;
  std::unique_ptr<RankZeroTransport> rank_zero;
  std::unique_ptr<RankTransport> other_rank;
  std::atomic<bool> finished{false};
  mutable std::atomic<bool> given_up{false};  // on a rank that did not arrive

  // Waits for a collective operation that all ranks reach at their own pace.
  void wait(MPI_Request request, const char* what) const {
    const milliseconds patience = rank == 0 ? options.patience_of_rank_zero : options.patience;
    const Clock::time_point deadline = Clock::now() + patience;
    Backoff backoff;
    for (int flag = 0;;) {
      check(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), what);
      if (flag != 0) return;
      if (Clock::now() > deadline) {
        given_up = true;
        throw RunError(
            fmt::format("{}: another rank did not arrive within {}", what,
                        format_duration(std::chrono::duration<double>(patience).count())));
      }
      std::this_thread::sleep_for(backoff.next());
    }
  }

  void broadcast(void* bytes, std::size_t size_in_bytes, int root) const {
    for (std::size_t at = 0; at < size_in_bytes; at += kBroadcastChunk) {
      MPI_Request request;
      check(MPI_Ibcast(static_cast<char*>(bytes) + at,
                       static_cast<int>(std::min(kBroadcastChunk, size_in_bytes - at)), MPI_BYTE,
                       root, comm, &request),
            "broadcast");
      wait(request, "broadcast");
    }
  }

  std::string broadcast(std::string bytes, int root) const {
    std::uint64_t length = bytes.size();
    broadcast(&length, sizeof(length), root);
    bytes.resize(length);
    broadcast(bytes.data(), bytes.size(), root);
    return bytes;
  }

  std::vector<std::string> gather(const std::string& bytes) const {
    std::vector<std::string> all;
    for (int root = 0; root < size; ++root)
      all.push_back(broadcast(root == rank ? bytes : std::string(), root));
    return all;
  }

  int maximum(int value) const {
    int result = value;
    MPI_Request request;
    check(MPI_Iallreduce(&value, &result, 1, MPI_INT, MPI_MAX, comm, &request), "vote");
    wait(request, "vote");
    return result;
  }

  // Every call by itself says what it could not do; MPI's own handler would end the program first.
  void join() {
    int provided = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "starting MPI");
    for (MPI_Comm world : {MPI_COMM_WORLD, MPI_COMM_SELF})
      check(MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN), "setting up MPI");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "opening a channel between the ranks");
    check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "setting up MPI");
    check(MPI_Comm_rank(comm, &rank), "finding the number of this rank");
    check(MPI_Comm_size(comm, &size), "counting the ranks");
    MPI_Comm node = MPI_COMM_NULL;
    const char* looking = "finding the ranks of this node";
    check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node), looking);
    check(MPI_Comm_rank(node, &local_rank), looking);
    check(MPI_Comm_size(node, &ranks_on_node), looking);
    check(MPI_Comm_free(&node), looking);
    if (provided < MPI_THREAD_SERIALIZED)
      throw RunError(
          "this MPI library cannot be used from two threads in turn (MPI_THREAD_SERIALIZED)");
    if (size > 1) post = std::make_unique<Post>(comm);
  }
};

Launch::Launch(const Options& options) : parts_(std::make_unique<Parts>()) {
  parts_->options = options;
  if (under_mpi_launcher()) parts_->join();
  check_srun(parts_->size);
  if (parts_->rank == 0)
    parts_->rank_zero = std::make_unique<RankZeroTransport>(parts_->size, parts_->post.get());
  else
    parts_->other_rank = std::make_unique<RankTransport>(parts_->rank, *parts_->post);
}

Launch::~Launch() {
  if (parts_->comm != MPI_COMM_NULL && !parts_->finished) abort(1);
}

int Launch::rank() const {
  return parts_->rank;
}
int Launch::size() const {
  return parts_->size;
}
int Launch::local_rank() const {
  return parts_->local_rank;
}
int Launch::ranks_on_node() const {
  return parts_->ranks_on_node;
}
const std::string& Launch::host() const {
  return parts_->host;
}

std::string Launch::broadcast(std::string bytes) {
  if (parts_->size == 1) return bytes;
  return parts_->broadcast(std::move(bytes), 0);
}

std::vector<std::string> Launch::gather(const std::string& bytes) {
  if (parts_->size == 1) return {bytes};
  return parts_->gather(bytes);
}

void Launch::together(const std::function<void()>& step) {
  if (parts_->size == 1) return step();
  int code = 0;
  std::string line;
  try {
    step();
  } catch (const Error& error) {
    code = error.exit_code();
    line = error.what();
  } catch (const std::exception& error) {
    code = 1;
    line = error.what();
  }
  const int worst = parts_->maximum(code);
  if (worst == 0) return;
  // The lowest rank with the worst code speaks for all.
  const int speaker =
      parts_->size - parts_->maximum(code == worst ? parts_->size - parts_->rank : 0);
  line = parts_->broadcast(fmt::format("rank {} on {}: {}", parts_->rank, parts_->host, line),
                           speaker);
  throw Error(worst, line);
}

int Launch::finish(int exit_code) {
  if (parts_->comm == MPI_COMM_NULL) return exit_code;
  if (parts_->given_up) abort(exit_code);
  const int worst = parts_->size == 1 ? exit_code : parts_->maximum(exit_code);
  parts_->finished = true;
  check(MPI_Comm_free(&parts_->comm), "closing the channel between the ranks");
  check(MPI_Finalize(), "ending MPI");
  return worst;
}

void Launch::abort(int exit_code) {
  std::fflush(nullptr);
  if (parts_->comm != MPI_COMM_NULL && !parts_->finished) MPI_Abort(parts_->comm, exit_code);
  std::_Exit(exit_code);
}

CoordinatorTransport& Launch::coordinator_transport() {
  if (!parts_->rank_zero) throw std::logic_error("the coordinator lives on rank 0");
  return *parts_->rank_zero;
}

WorkerTransport& Launch::worker_transport() {
  if (parts_->rank_zero) return parts_->rank_zero->local();
  return *parts_->other_rank;
}

}  // namespace factflow
