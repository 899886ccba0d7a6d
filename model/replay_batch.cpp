#include "model/replay_batch.hpp"

#include <optional>

namespace factflow {

ReplayBatch::Run ReplayBatch::ask(const std::vector<int>& ids, int answer,
                                  std::vector<Intervention> together) {
  const auto [at, added] = request_of_.try_emplace({ids, answer}, requests_.size());
  if (added) requests_.push_back({ids, answer});
  std::vector<Series>& series = requests_[at->second].series;
  series.push_back({std::move(together), std::nullopt});
  return {at->second, series.size() - 1};
}

size_t ReplayBatch::read(Run run, SiteAt at, int token) {
  std::vector<ReadAt>& reads = requests_[run.request].reads;
  reads.push_back({at, token, ReadAt::Run{run.series, 0}});
  return reads.size() - 1;
}

const Answer& ReplayBatch::answer(Run run) const {
  const ReplayResult& result = results_[run.request];
  const Answer& answer = result.knockouts[run.series][0];
  return answer.rank == 0 ? result.clean : answer;
}

std::vector<double> ReplayBatch::value(Run run, size_t read) const {
  const at::Tensor value = results_[run.request].reads[read].value().to(at::kDouble).contiguous();
  const auto* data = value.data_ptr<double>();
  return {data, data + value.numel()};
}

}  // namespace factflow
