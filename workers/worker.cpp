#include "workers/worker.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <map>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "workers/device_memory.hpp"
#include "workers/unit_computation.hpp"
#include "workers/work_loop.hpp"

namespace factflow {

struct Worker::Device {
  at::Device device;
  Precision precision;
};

// Units that threads of their own prepare; nothing comes of one that belongs to another model than
// the loaded one. The futures wait for the threads when they go.
struct Worker::Foreseen {
  std::map<std::uint64_t, std::future<std::optional<PreparedUnit>>> units;
};

Worker::Worker(Job job, const std::string& device_name, int ranks_on_node, std::string host)
    : job_(std::move(job)), host_(std::move(host)), foreseen_(std::make_unique<Foreseen>()) {
  threads_ = set_threads(job_.threads_per_rank, ranks_on_node);
  const at::Device device = choose_device(device_name);
  device_ = std::make_unique<Device>(Device{device, parse_precision(job_.precision)});
  device_name_ = describe(device);
  check_precision(device, device_->precision);
  check_memory();
}

Worker::~Worker() = default;

// What cannot work with an empty device even. On a CPU weights in float32 stay in the files' maps.
void Worker::check_memory() const {
  const bool cpu = device_->device.is_cpu();
  const std::int64_t there = cpu ? host_memory() : device_memory(device_->device);
  for (const ModelJob& model : job_.models) {
    const std::int64_t mapped = cpu && device_->precision == Precision::kFp32
                                    ? model.kept - model.converted
                                    : 0,
                       needed = (model.kept - mapped) * weight_bytes(device_->precision);
    if (needed > there)
      throw InputError(fmt::format("model {}", model.name),
                       fmt::format("its weights take {} in {}, and {} has {}",
                                   format_bytes(static_cast<double>(needed)), job_.precision,
                                   device_name_, format_bytes(static_cast<double>(there))),
                       "take a smaller precision or a larger device, or leave the model out");
  }
}

std::string Worker::device() const {
  return device_name_;
}

void Worker::unload() {
  foreseen_->units.clear();
  loaded_.reset();
  checked_ = false;
}

LoadedModel& Worker::load(const Unit& unit) {
  if (loaded_ && loaded_index_ == unit.model) return *loaded_;
  unload();  // the old weights go before the new ones come
  const ModelJob& model = job_.models.at(unit.model);
  // Units that were fetched ahead come before the end of the run does.
  if (unit.model == failed_index_) throw UnitFailure(FailureKind::kLoading, loading_failure_);
  failed_index_ = unit.model;
  try {
    loaded_ = std::make_unique<LoadedModel>(model, device_->device, device_->precision,
                                            job_.memory_limit, host_, /*facts_wanted=*/true);
  } catch (const InputError&) {
    failed_index_.reset();
    throw;
  } catch (const std::bad_alloc&) {
    fail_loading(model, "out of memory on the host", true);
  } catch (const c10::Error& error) {
    fail_loading(model, error.what_without_backtrace(), is_out_of_memory(error));
  } catch (const std::exception& error) {
    fail_loading(model, error.what(), false);
  }
  failed_index_.reset();
  loaded_index_ = unit.model;
  return *loaded_;
}

void Worker::fail_loading(const ModelJob& model, const std::string& reason, bool memory) {
  release_cached_memory(device_->device);
  const std::int64_t bytes = model.kept * weight_bytes(device_->precision);
  std::string line = fmt::format("model {} cannot be loaded on {}: {}", model.name, device_name_,
                                 reason.substr(0, reason.find('\n')));
  if (memory && bytes > 0)
    line += fmt::format("; its weights take {} in {}", format_bytes(static_cast<double>(bytes)),
                        job_.precision);
  if (memory)
    line +=
        "; free memory there, start fewer ranks a node, take a smaller precision or a larger "
        "device, or leave the model out";
  loading_failure_ = line;
  throw UnitFailure(FailureKind::kLoading, line);
}

void Worker::foresee(std::uint64_t id, std::string payload) {
  if (!loaded_ || foreseen_->units.contains(id)) return;
  try {
    foreseen_->units[id] =
        std::async(std::launch::async,
                   [model = loaded_.get(), index = loaded_index_,
                    payload = std::move(payload)]() -> std::optional<PreparedUnit> {
                     Unit unit = decode_unit(payload);
                     if (unit.model != index) return std::nullopt;
                     return prepare(*model, std::move(unit));
                   });
  } catch (const std::exception&) {  // no thread or no memory to be had: the unit is prepared when
                                     // it comes
    foreseen_->units.erase(id);
  }
}

PreparedUnit Worker::ready_unit(std::uint64_t id, const std::string& payload) {
  if (auto foreseen = foreseen_->units.extract(id))
    if (std::optional<PreparedUnit> unit = foreseen.mapped().get()) return std::move(*unit);
  Unit unit = decode_unit(payload);
  const LoadedModel& model = load(unit);
  return prepare(model, std::move(unit));
}

// Before the loaded model's first unit: one prompt of it with all that is asked of any prompt.
void Worker::check_self(const PreparedUnit& prepared) {
  if (checked_ || !job_.self_check || prepared.prompts.empty()) return;
  checked_ = true;
  const ModelJob& model = job_.models.at(prepared.unit.model);
  try {
    loaded_->check_self(requests_to_check(*loaded_, model, prepared.prompts.front()));
  } catch (const RunError& error) {
    loading_failure_ = fmt::format("model {}: {}", model.name, error.what());
    failed_index_ = prepared.unit.model;
    unload();
    throw UnitFailure(FailureKind::kLoading, loading_failure_);
  }
}

UnitResult Worker::computed(const PreparedUnit& prepared,
                            std::chrono::steady_clock::time_point start) {
  check_self(prepared);
  UnitResult result = factflow::compute(*loaded_, job_.models.at(prepared.unit.model), prepared);
  result.report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

std::string Worker::compute(std::uint64_t id, const std::string& payload,
                            const std::atomic<bool>& cancelled) {
  const auto start = std::chrono::steady_clock::now();
  if (cancelled) throw UnitCancelled{};
  try {
    return encode(computed(ready_unit(id, payload), start));
  } catch (const MemoryError& error) {
    throw UnitFailure(FailureKind::kOutOfMemory, error.what());
  } catch (const std::bad_alloc&) {
    unload();
    throw UnitFailure(FailureKind::kOutOfMemory, "out of memory on the host");
  } catch (const InputError& error) {
    // A model that cannot be loaded here can be loaded nowhere: the run is told what is wrong and
    // ends.
    throw UnitFailure(FailureKind::kBadInput, error.what());
  } catch (const c10::Error& error) {
    const bool memory = is_out_of_memory(error);
    if (memory) unload();
    throw UnitFailure(memory ? FailureKind::kOutOfMemory : FailureKind::kError,
                      error.what_without_backtrace());
  }
}

}  // namespace factflow
