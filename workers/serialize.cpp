// Jobs, units and results as bytes, by cereal's portable binary archive (little-endian, no
// padding).
#include <sstream>

#include <cereal/archives/portable_binary.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <fmt/format.h>

#include "base/error.hpp"
#include "workers/job.hpp"
#include "workers/unit.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, ChannelSet& c) {
  archive(c.kind, c.slice, c.slices);
}
template <class Archive>
void serialize(Archive& archive, Window& w) {
  archive(w.begin, w.end);
}
template <class Archive>
void serialize(Archive& archive, EdgeSpec& e) {
  archive(e.from, e.to, e.channels);
}
template <class Archive>
void serialize(Archive& archive, WindowSeries& s) {
  archive(s.size, s.starts, s.windows);
}
template <class Archive>
void serialize(Archive& archive, CheckpointChoices& c) {
  archive(c.head, c.gated_norm);
}
template <class Archive>
void serialize(Archive& archive, ModelJob& m) {
  archive(m.name, m.path, m.choices, m.tokenizer, m.answer, m.parameters, m.converted, m.edges,
          m.sweep, m.heatmaps);
}
template <class Archive>
void serialize(Archive& archive, Job& j) {
  archive(j.models, j.device, j.precision, j.threads_per_rank, j.memory_limit, j.share_gpus,
          j.heartbeat_timeout);
}
template <class Archive>
void serialize(Archive& archive, Prompt& p) {
  archive(p.id, p.text, p.subject, p.subject_begin, p.answer, p.relation);
}
template <class Archive>
void serialize(Archive& archive, AskedEdge& e) {
  archive(e.edge, e.series);
}
template <class Archive>
void serialize(Archive& archive, Unit& u) {
  archive(u.stage, u.model, u.prompts, u.edges, u.heatmaps);
}
template <class Archive>
void serialize(Archive& archive, ModelFacts& f) {
  archive(f.family, f.layers, f.hidden_size, f.vocabulary, f.parameters, f.checkpoint_digest,
          f.tokenizer_digest, f.libraries, f.device, f.host);
}
template <class Archive>
void serialize(Archive& archive, PromptEvaluation& p) {
  archive(p.failure, p.probability, p.rank, p.tied, p.answer_token, p.answer_text, p.changes,
          p.token_count, p.subject_begin, p.subject_end, p.top_token, p.top_probability,
          p.top_text);
}
template <class Archive>
void serialize(Archive& archive, UnitReport& r) {
  archive(r.seconds, r.failed, r.model_digest);
}
template <class Archive>
void serialize(Archive& archive, EvaluationUnit& u) {
  archive(u.report, u.facts, u.prompts);
}
template <class Archive>
void serialize(Archive& archive, PromptSweep& p) {
  archive(p.failure, p.blocked, p.probability, p.rank, p.tied);
}
template <class Archive>
void serialize(Archive& archive, SweepUnit& u) {
  archive(u.report, u.prompts);
}
template <class Archive>
void serialize(Archive& archive, PromptHeatmap& p) {
  archive(p.failure, p.tokens, p.token_ids, p.probability);
}
template <class Archive>
void serialize(Archive& archive, HeatmapUnit& u) {
  archive(u.report, u.prompts);
}

namespace {

template <class T>
std::string to_bytes(const T& value) {
  std::ostringstream stream(std::ios::binary);
  cereal::PortableBinaryOutputArchive archive(stream);
  archive(value);
  return std::move(stream).str();
}

template <class T>
T from_bytes(const std::string& bytes, const char* what) {
  T value;
  try {
    std::istringstream stream(bytes, std::ios::binary);
    cereal::PortableBinaryInputArchive archive(stream);
    archive(value);
  } catch (const std::exception& error) {
    throw RunError(
        fmt::format("{} of {} bytes cannot be read: {}", what, bytes.size(), error.what()));
  }
  return value;
}

}  // namespace

std::string encode(const Job& job) {
  return to_bytes(job);
}
std::string encode(const Unit& unit) {
  return to_bytes(unit);
}
std::string encode(const EvaluationUnit& result) {
  return to_bytes(result);
}
std::string encode(const SweepUnit& result) {
  return to_bytes(result);
}
std::string encode(const HeatmapUnit& result) {
  return to_bytes(result);
}

Job decode_job(const std::string& bytes) {
  return from_bytes<Job>(bytes, "a job");
}
Unit decode_unit(const std::string& bytes) {
  return from_bytes<Unit>(bytes, "a unit");
}
EvaluationUnit decode_evaluation(const std::string& bytes) {
  return from_bytes<EvaluationUnit>(bytes, "an evaluation");
}
SweepUnit decode_sweep(const std::string& bytes) {
  return from_bytes<SweepUnit>(bytes, "a sweep result");
}
HeatmapUnit decode_heatmap(const std::string& bytes) {
  return from_bytes<HeatmapUnit>(bytes, "a heat map");
}

// More than a report has: two numbers and two digests of 32 letters.
constexpr std::size_t kReportBytes = 128;

UnitReport report_of(const std::string& result) {
  UnitReport report;
  try {
    std::istringstream stream(result.substr(0, kReportBytes), std::ios::binary);
    cereal::PortableBinaryInputArchive archive(stream);
    archive(report);
  } catch (const std::exception& error) {
    throw RunError(
        fmt::format("a result of {} bytes cannot be read: {}", result.size(), error.what()));
  }
  return report;
}

std::string label_of(const EdgeSpec& edge) {
  const std::string label = to_string(edge.from) + "->" + to_string(edge.to);
  return edge.channels.kind == ChannelSet::Kind::kAll ? label
                                                      : label + "/" + to_string(edge.channels);
}

const char* name_of(Stage stage) {
  switch (stage) {
    case Stage::kEvaluate:
      return "evaluate";
    case Stage::kSweep:
      return "sweep";
    case Stage::kHeatmap:
      return "heatmap";
  }
  return "unknown";
}

}  // namespace factflow
