#include "workers/worker.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <map>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/device.hpp"
#include "model/threads.hpp"
#include "workers/experiments.hpp"
#include "workers/loaded_model.hpp"
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

namespace {

template <class Result>
std::string reported(std::chrono::steady_clock::time_point start, LoadedModel& model,
                     Result result) {
  result.report.model_digest =
      model.facts().checkpoint_digest + " " + model.facts().tokenizer_digest;
  result.report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.report.failed = static_cast<std::uint32_t>(
      std::count_if(result.prompts.begin(), result.prompts.end(),
                    [](const auto& prompt) { return !prompt.failure.empty(); }));
  return encode(result);
}

}  // namespace

Worker::Worker(Job job, const std::string& device_name, int ranks_on_node, std::string host)
    : job_(std::move(job)), host_(std::move(host)), foreseen_(std::make_unique<Foreseen>()) {
  threads_ = set_threads(job_.threads_per_rank, ranks_on_node);
  const at::Device device = choose_device(device_name);
  device_ = std::make_unique<Device>(Device{device, parse_precision(job_.precision)});
  device_name_ = describe(device);
}

Worker::~Worker() = default;

std::string Worker::device() const {
  return device_name_;
}

void Worker::unload() {
  foreseen_->units.clear();
  loaded_.reset();
}

LoadedModel& Worker::load(const Unit& unit) {
  if (!loaded_ || loaded_index_ != unit.model) {
    unload();  // the old weights go before the new ones come
    loaded_ = std::make_unique<LoadedModel>(job_.models.at(unit.model), device_->device,
                                            device_->precision, job_.memory_limit, host_,
                                            /*facts_wanted=*/true);
    loaded_index_ = unit.model;
  }
  return *loaded_;
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

std::string Worker::compute(std::uint64_t id, const std::string& payload,
                            const std::atomic<bool>& cancelled) {
  const auto start = std::chrono::steady_clock::now();
  if (cancelled) throw UnitCancelled{};
  try {
    const PreparedUnit prepared = ready_unit(id, payload);
    const ModelJob& job = job_.models.at(prepared.unit.model);
    LoadedModel& model = *loaded_;
    switch (prepared.unit.stage) {
      case Stage::kEvaluate:
        return reported(start, model, evaluate(model, prepared));
      case Stage::kSweep:
        return reported(start, model, sweep(model, job, prepared));
      case Stage::kHeatmap:
        return reported(start, model, draw_heatmaps(model, job, prepared));
    }
    throw std::logic_error("a unit of an unknown stage");
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
