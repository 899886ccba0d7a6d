#include "pipeline/coordination/coordinator.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "pipeline/coordination/unit_claims.hpp"

namespace factflow {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kTurn{20};               // the longest wait for a message
constexpr std::size_t kTasksInHandSharing = 2;  // what is claimed no other process can begin

Message make_message(MessageKind kind, std::uint64_t unit = 0, std::string payload = "") {
  return {static_cast<std::uint32_t>(kind), 0, unit, std::move(payload)};
}

}  // namespace

Coordinator::Coordinator(CoordinatorTransport& transport, TaskSource& source, JournalIndex& index,
                         Journal& journal, const CoordinatorOptions& options)
    : transport_(transport),
      source_(source),
      index_(index),
      journal_(journal),
      options_(options),
      queue_(transport.workers()),
      workers_(static_cast<std::size_t>(transport.workers())) {
  for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i].name = fmt::format("worker {}", i);
  if (options_.claims != nullptr && options_.writer.empty())
    throw std::logic_error("a coordinator with claims needs the name of its own journal");
}

Outcome Coordinator::run() {
  try {
    add(source_.initial());
    last_turn_ = last_look_ = Clock::now();
    for (Worker& worker : workers_) worker.heard = last_turn_;
    loop();
    if (!finished()) {
      stop();
    } else {
      end_workers(MessageKind::kFinish, options_.grace);
    }
    report_progress(true);
  } catch (...) {
    end_in_error();
    throw;
  }
  return outcome_;
}

bool Coordinator::all_workers_left() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.gone; });
}

// ---- the plan

void Coordinator::add(std::vector<Task> tasks) {
  std::deque<Task> released(std::make_move_iterator(tasks.begin()),
                            std::make_move_iterator(tasks.end()));
  while (!released.empty()) {
    Task task = std::move(released.front());
    released.pop_front();
    if (!known_.insert(task.id).second)
      throw std::logic_error(fmt::format("unit {} was released twice", task.id));
    if (!std::isfinite(task.cost) || task.cost < 0) task.cost = 0;
    meter_.add_total(task);
    if (!on_record(task)) {
      queue_.push({std::move(task)});
      continue;
    }
    for (Task& next : tell_source(read_record(task), true)) released.push_back(std::move(next));
    send_heartbeats();  // the past may be long, and workers are waiting
  }
}

bool Coordinator::on_record(const Task& task) const {
  const RecordPlace* place = index_.find(task.key());
  return place != nullptr && !(is_flawed(place->type) && options_.retry_failed);
}

std::string Coordinator::in_work(const Worker& worker) const {
  if (worker.in_hand.empty()) return "without a unit in work";
  return "while working on " + source_.name_of(worker.in_hand.front().task.id);
}

Coordinator::Settled Coordinator::read_record(const Task& task) const {
  JournalRecord record = index_.read(task.key());
  Settled settled{record.type, task, std::move(record.payload), {}};
  if (record.type == RecordType::kSplit) {
    settled.parts = source_.split(task.id);
    if (settled.parts.empty())
      throw RunError(
          fmt::format("the journal says that {} was split, but the plan cannot split it; start "
                      "over with --fresh",
                      source_.name_of(task.id)));
  }
  return settled;
}

std::vector<Task> Coordinator::tell_source(Settled settled, bool earlier) {
  if (settled.type == RecordType::kSplit) {
    meter_.drop_total(settled.task);
    return std::move(settled.parts);
  }
  const bool failed = settled.type == RecordType::kFailed;
  meter_.add_done(settled.task, failed, earlier);
  ++(failed ? outcome_.units_failed : outcome_.units_done);
  if (earlier) ++outcome_.units_resumed;
  if (failed) return source_.failed(settled.task.id, settled.payload);
  return source_.completed(settled.task.id, std::move(settled.payload));
}

// ---- messages

void Coordinator::loop() {
  for (;;) {
    hand_out();
    if (commit_due()) {
      commit();
      continue;  // what was released goes out at once
    }
    if (finished() || stop_requests() > 0) return;
    receive_messages(time_to_wait());
    look_at_others();
    send_heartbeats();
    check_workers();
    report_progress(false);
  }
}

bool Coordinator::finished() const {
  return queue_.empty() && in_flight_ == 0 && settled_.empty() && elsewhere_.empty();
}

void Coordinator::receive_messages(milliseconds timeout) {
  drained_ = false;
  // Bounded, because workers send nothing new before they are answered.
  while (std::optional<Message> message = transport_.receive(timeout)) {
    handle(std::move(*message));
    if (journal_.pending_bytes() >= options_.commit_bytes) return;
    timeout = milliseconds(0);
  }
  drained_ = true;
}

void Coordinator::handle(Message message) {
  Worker& worker = workers_.at(message.worker);
  worker.heard = Clock::now();
  switch (static_cast<MessageKind>(message.kind)) {
    case MessageKind::kHello:
      worker.ready = true;
      worker.name = fmt::format("worker {} ({})", message.worker, message.payload);
      break;
    case MessageKind::kResult: {
      Attempt attempt = take_from_hand(worker, message.unit);
      note_time(worker, attempt.task);
      const RecordType type =
          source_.has_failures(message.payload) ? RecordType::kPartial : RecordType::kResult;
      settle({type, std::move(attempt.task), std::move(message.payload), {}});
      break;
    }
    case MessageKind::kFailure:
      handle_failure(worker, message);
      break;
    case MessageKind::kGoodbye:
      handle_goodbye(worker);
      break;
    default:
      break;
  }
}

Attempt Coordinator::take_from_hand(Worker& worker, std::uint64_t unit) {
  const auto place = std::find_if(worker.in_hand.begin(), worker.in_hand.end(),
                                  [&](const Attempt& attempt) { return attempt.task.id == unit; });
  if (place == worker.in_hand.end())
    throw RunError(fmt::format(
        "{} answered {}, which it was not given; are all ranks running the same program?",
        worker.name, source_.name_of(unit)));
  Attempt attempt = std::move(*place);
  worker.in_hand.erase(place);
  --in_flight_;
  return attempt;
}

// A worker begins with a task when it has answered the one before. The first of a model includes
// its loading, which says nothing about those that follow.
void Coordinator::note_time(Worker& worker, const Task& task) {
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - worker.began).count();
  if (worker.model == task.affinity) meter_.add_time(task, seconds);
  if (options_.on_unit)
    options_.on_unit(fmt::format("{}: {} by {}{}", source_.name_of(task.id),
                                 format_duration(seconds), worker.name,
                                 worker.model == task.affinity ? "" : ", loading included"));
  worker.model = task.affinity;
  worker.began = now;
}

void Coordinator::handle_failure(Worker& worker, const Message& message) {
  Attempt attempt = take_from_hand(worker, message.unit);
  worker.began = Clock::now();
  if (ending_) return;  // may well fail because of the end; the next launch tries it
  const Failure failure = decode_failure(message.payload);
  const std::string name = source_.name_of(attempt.task.id);
  const std::string where = workers_.size() > 1 ? fmt::format(" ({})", worker.name) : "";
  if (failure.kind == FailureKind::kBadInput) throw InputError("", failure.reason + where);
  if (failure.kind == FailureKind::kLoading) throw RunError(failure.reason + where);
  if (failure.kind == FailureKind::kFatal)
    throw RunError(fmt::format("{} cannot go on ({}): {}", worker.name, name, failure.reason));
  if (failure.kind == FailureKind::kOutOfMemory) {
    std::vector<Task> parts = source_.split(attempt.task.id);
    if (!parts.empty()) {
      event(fmt::format("{} was too large for {} and is split into {}: {}", name, worker.name,
                        parts.size(), failure.reason));
      return settle({RecordType::kSplit, std::move(attempt.task), "", std::move(parts)});
    }
  } else if (attempt.failures == 0) {
    event(fmt::format("{} failed on {} and is tried once more: {}", name, worker.name,
                      failure.reason));
    attempt.failures = 1;
    attempt.not_on = static_cast<int>(message.worker);
    return queue_.push(std::move(attempt));
  }
  event(fmt::format("{} failed on {}: {}", name, worker.name, failure.reason));
  settle({RecordType::kFailed, std::move(attempt.task), failure.reason, {}});
}

void Coordinator::handle_goodbye(Worker& worker) {
  worker.gone = true;
  if (!ending_)
    throw RunError(
        fmt::format("{} left before the run was over, {}", worker.name, in_work(worker)));
  in_flight_ -= worker.in_hand.size();
  worker.in_hand.clear();
}

// ---- the journal

void Coordinator::settle(Settled settled) {
  if (settled_.empty()) first_pending_ = Clock::now();
  journal_.append(settled.type, settled.task.key(), settled.payload);
  settled.task.payload.clear();
  settled_.push_back(std::move(settled));
}

bool Coordinator::commit_due() const {
  if (settled_.empty()) return false;
  if (journal_.pending_bytes() >= options_.commit_bytes || idle_worker()) return true;
  return Clock::now() - first_pending_ >= options_.commit_interval;
}

void Coordinator::commit() {
  if (settled_.empty()) return;
  if (options_.before_commit) options_.before_commit();
  journal_.commit();
  std::vector<Settled> durable = std::exchange(settled_, {});
  for (Settled& settled : durable) {
    if (options_.claims != nullptr) options_.claims->release(settled.task.key());
    add(tell_source(std::move(settled), false));
  }
}

// ---- handing out

void Coordinator::hand_out() {
  const bool sharing = options_.claims != nullptr, alone = workers_.size() == 1 && !sharing;
  const std::size_t most = sharing ? kTasksInHandSharing : kTasksInHand;
  for (std::size_t depth = 1; depth <= most; ++depth) {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (queue_.empty()) return;
      const Worker& worker = workers_[i];
      if (!worker.ready || worker.in_hand.size() >= depth) continue;
      if (depth == 1 || alone || queue_.may_fetch_ahead(worker.in_hand))
        hand_one_to(static_cast<int>(i));
    }
  }
}

void Coordinator::hand_one_to(int number) {
  while (std::optional<Attempt> attempt = queue_.pop(number)) {
    if (!claim(*attempt)) continue;
    Worker& worker = workers_[static_cast<std::size_t>(number)];
    transport_.send(number,
                    make_message(MessageKind::kTask, attempt->task.id, attempt->task.payload));
    if (worker.in_hand.empty()) worker.began = Clock::now();
    worker.in_hand.push_back(std::move(*attempt));
    ++in_flight_;
    return;
  }
}

// True if the unit is ours to compute. If not, it is settled already or put aside.
bool Coordinator::claim(const Attempt& attempt) {
  if (options_.claims == nullptr) return true;
  const UnitKey unit = attempt.task.key();
  const bool known_done = on_record(attempt.task);
  if (!known_done && !options_.claims->claim(unit)) {
    elsewhere_.emplace(unit.unit, attempt);
    return false;
  }
  // Its last holder commits, then releases: only a look after the claim is sure to see the result.
  if (!known_done) index_.refresh(options_.writer);
  if (!on_record(attempt.task)) return true;
  options_.claims->release(unit);
  add(tell_source(read_record(attempt.task), true));
  return false;
}

void Coordinator::look_at_others() {
  if (elsewhere_.empty() || Clock::now() - last_look_ < options_.claims_interval) return;
  last_look_ = Clock::now();
  index_.refresh(options_.writer);
  const bool spare_hands = queue_.empty() && idle_worker();
  for (auto& [unit, attempt] : std::exchange(elsewhere_, {})) {
    if (on_record(attempt.task))
      add(tell_source(read_record(attempt.task), true));
    else if (spare_hands)
      queue_.push(std::move(attempt));  // claimed once more: its holder may have died
    else
      elsewhere_.emplace(unit, std::move(attempt));
  }
}

bool Coordinator::idle_worker() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const Worker& worker) { return worker.ready && worker.in_hand.empty(); });
}

// ---- time passing, and the end

milliseconds Coordinator::time_to_wait() const {
  if (settled_.empty()) return kTurn;
  const auto due = first_pending_ + options_.commit_interval - Clock::now();
  return std::clamp(std::chrono::duration_cast<milliseconds>(due), milliseconds(0), kTurn);
}

void Coordinator::send_heartbeats() {
  const Clock::time_point now = Clock::now();
  if (now - last_heartbeat_ < options_.heartbeat_interval) return;
  last_heartbeat_ = now;
  for (std::size_t i = 0; i < workers_.size(); ++i)
    if (!workers_[i].gone && !workers_[i].lost)
      transport_.send(static_cast<int>(i), make_message(MessageKind::kHeartbeat));
}

void Coordinator::check_workers() {
  const Clock::time_point now = Clock::now();
  // This thread itself was held up (a slow disk, a suspended job): silence proves nothing then.
  const bool held_up = now - last_turn_ > options_.heartbeat_timeout / 2;
  last_turn_ = now;
  for (Worker& worker : workers_) {
    if (held_up) worker.heard = now;
    if (!drained_ || worker.gone || now - worker.heard <= options_.heartbeat_timeout) continue;
    worker.lost = true;
    const double silence = std::chrono::duration<double>(now - worker.heard).count();
    throw RunError(fmt::format(
        "{} has not been heard of for {}, {}; {} finished units are safe, the same command "
        "continues",
        worker.name, format_duration(silence), in_work(worker), outcome_.units_done));
  }
}

void Coordinator::report_progress(bool always) {
  if (!options_.on_progress) return;
  const Clock::time_point now = Clock::now();
  if (!always && now - last_report_ < options_.progress_interval) return;
  last_report_ = now;
  meter_.expect(source_.expected());
  options_.on_progress(progress(now));
}

Progress Coordinator::progress(Clock::time_point now) {
  Progress progress = meter_.snapshot(now, in_flight_, transport_.workers());
  progress.workers = transport_.workers();
  for (const Worker& worker : workers_) {
    if (worker.in_hand.empty()) continue;
    if (progress.busy++ == 0) progress.working_on = source_.name_of(worker.in_hand.front().task.id);
  }
  return progress;
}

int Coordinator::stop_requests() const {
  return options_.stop == nullptr ? 0 : options_.stop->load();
}

void Coordinator::stop() {
  std::vector<std::string> units;
  for (const Worker& worker : workers_)
    if (!worker.in_hand.empty())
      units.push_back(
          fmt::format("{} on {}", source_.name_of(worker.in_hand.front().task.id), worker.name));
  if (units.size() > 8) units.resize(8), units.push_back("...");
  event(fmt::format("stopping: waiting up to {} for what is in work: {}",
                    format_duration(std::chrono::duration<double>(options_.grace).count()),
                    units.empty() ? "none" : join(units)));
  end_workers(MessageKind::kFinish, options_.grace);
  if (!all_workers_left()) end_workers(MessageKind::kCancel, options_.cancel_patience);
  outcome_.end = RunEnd::kStopped;
}

// Tells every worker to leave and keeps what still comes in.
void Coordinator::end_workers(MessageKind kind, milliseconds patience) {
  ending_ = true;
  tell_to_leave(kind);
  const Clock::time_point deadline = Clock::now() + patience;
  while (waiting_for_workers() && Clock::now() < deadline) {
    if (kind == MessageKind::kFinish && stop_requests() > 1) break;
    receive_messages(kTurn);
    send_heartbeats();
    if (commit_due()) commit();
  }
  commit();
}

// The source hears nothing more, but results that are there are kept. The first error is the one to
// report, so whatever goes wrong here besides is let go: the journal may be the very thing that
// failed.
void Coordinator::end_in_error() {
  try {
    journal_.commit();
  } catch (const std::exception&) {
  }
  try {
    ending_ = true;
    tell_to_leave(MessageKind::kCancel);
    const Clock::time_point deadline = Clock::now() + options_.cancel_patience;
    while (waiting_for_workers() && Clock::now() < deadline) receive_messages(kTurn);
    journal_.commit();
  } catch (const std::exception&) {
  }
}

void Coordinator::tell_to_leave(MessageKind kind) {
  for (std::size_t i = 0; i < workers_.size(); ++i)
    if (!workers_[i].gone && !workers_[i].lost)
      transport_.send(static_cast<int>(i), make_message(kind));
}

bool Coordinator::waiting_for_workers() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const Worker& w) { return !w.gone && !w.lost; });
}

void Coordinator::event(const std::string& line) const {
  if (options_.on_event) options_.on_event(line);
}

}  // namespace factflow
