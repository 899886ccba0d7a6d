// One rank's hands: keeps a model loaded and computes units of it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "workers/job.hpp"
#include "workers/unit.hpp"
#include "workers/unit_computation.hpp"

namespace factflow {

class Worker {
 public:
  // `device`: as assign_device gives it to this rank. Throws InputError if it cannot be had, cannot
  // compute in the job's precision, or has less memory than the weights of one of the models take.
  Worker(Job job, const std::string& device, int ranks_on_node, std::string host);
  ~Worker();

  // Payload of a task in, bytes of its result out (UnitResult). A
  // prompt that fails is recorded inside the result; only failures of the unit as a whole throw
  // UnitFailure: a model that cannot be loaded as kBadInput or kLoading, never as a unit that is
  // too large.
  std::string compute(std::uint64_t id, const std::string& payload,
                      const std::atomic<bool>& cancelled);
  // Prepares, beside the next call of compute(), the unit of the one after it.
  void foresee(std::uint64_t id, std::string payload);

  std::string device() const;  // "NVIDIA H100 80GB HBM3", "CPU, avx512, 1 thread"

 private:
  LoadedModel& load(const Unit& unit);  // the unit's model
  [[noreturn]] void fail_loading(const ModelJob& model, const std::string& reason, bool memory);
  void unload();
  void check_memory() const;
  PreparedUnit ready_unit(std::uint64_t id, const std::string& payload);
  UnitResult computed(const PreparedUnit& prepared, std::chrono::steady_clock::time_point start);
  void check_self(const PreparedUnit& prepared);

  Job job_;
  std::string host_;
  std::string device_name_;
  int threads_ = 1;
  struct Device;
  std::unique_ptr<Device> device_;
  std::uint32_t loaded_index_ = 0;
  std::optional<std::uint32_t> failed_index_;  // a model that could not be loaded
  std::string loading_failure_;                // and why
  std::unique_ptr<LoadedModel> loaded_;
  bool checked_ = false;  // the loaded model, against whole forwards
  struct Foreseen;
  std::unique_ptr<Foreseen> foreseen_;  // reads the loaded model, so it goes first
};

}  // namespace factflow
