// Jobs, units and results as bytes.
#include "experiments/bytes.hpp"
#include "workers/job.hpp"
#include "workers/unit.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, CheckpointChoices& c) {
  archive(c.head, c.gated_norm);
}
template <class Archive>
void serialize(Archive& archive, ModelJob& m) {
  archive(m.name, m.path, m.choices, m.tokenizer, m.answer, m.kept, m.converted, m.work, m.asked);
}
template <class Archive>
void serialize(Archive& archive, Job& j) {
  archive(j.models, j.device, j.precision, j.threads_per_rank, j.memory_limit, j.share_gpus,
          j.heartbeat_timeout, j.self_check);
}
template <class Archive>
void serialize(Archive& archive, Unit& u) {
  archive(u.kind, u.model, u.prompts, u.asked);
}
template <class Archive>
void serialize(Archive& archive, ModelFacts& f) {
  archive(f.family, f.layer_blocks, f.layers, f.hidden_size, f.vocabulary, f.parameters,
          f.checkpoint_digest, f.tokenizer_digest, f.libraries, f.device, f.host, f.check_runs,
          f.check_largest, f.check_of);
}
template <class Archive>
void serialize(Archive& archive, UnitReport& r) {
  archive(r.seconds, r.failed, r.model_digest);
}
template <class Archive>
void serialize(Archive& archive, Finding& f) {
  archive(f.failure, f.values);
}
template <class Archive>
void serialize(Archive& archive, UnitResult& u) {
  archive(u.report, u.facts, u.prompts);
}

std::string encode(const Job& job) {
  return to_bytes(job);
}
std::string encode(const Unit& unit) {
  return to_bytes(unit);
}
std::string encode(const UnitResult& result) {
  return to_bytes(result);
}

Job decode_job(const std::string& bytes) {
  return from_bytes<Job>(bytes, "a job");
}
Unit decode_unit(const std::string& bytes) {
  return from_bytes<Unit>(bytes, "a unit");
}
UnitResult decode_result(const std::string& bytes) {
  return from_bytes<UnitResult>(bytes, "a result");
}

// More than a report has: two numbers and two digests of 32 letters.
constexpr std::size_t kReportBytes = 128;

UnitReport report_of(const std::string& result) {
  return from_bytes<UnitReport>(result.substr(0, kReportBytes), "a result");
}

}  // namespace factflow
