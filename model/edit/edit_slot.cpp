#include "model/edit/edit_slot.hpp"

#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "model/edit/judge.hpp"
#include "model/reference/reference_ops.hpp"

namespace factflow {
namespace {

// Both keep their places and sizes, so every tensor that lies in one shows the other's numbers.
void swap_memory(const at::Storage& a, const at::Storage& b) {
  at::DataPtr of_a = a.set_data_ptr(at::DataPtr());
  at::DataPtr of_b = b.set_data_ptr(std::move(of_a));
  a.set_data_ptr(std::move(of_b));
}

}  // namespace

void check_edit_precision(Precision precision) {
  if (precision == Precision::kFp64 || precision == Precision::kFp32 ||
      precision == Precision::kTf32)
    return;
  throw InputError(
      "precision",
      fmt::format("edits are computed in fp64, fp32 or tf32, and the model is in {}, "
                  "where weights are {}",
                  to_string(precision), precision == Precision::kBf16 ? "rounded" : "split"),
      "choose one of these");
}

EditSlot::EditSlot(const Network& network, EditedMatrix matrix, int layer)
    : network_(network), place_(network.editable(layer, matrix)), layer_(layer) {
  check_edit_precision(network.precision());
}

SlotValues EditSlot::values(std::span<const PromptToken> places) const {
  const at::NoGradGuard no_graph;
  const SiteAt sites[] = {key_site(), {place_.matrix.value, layer_}};
  const std::vector<at::Tensor> found = ReferenceRows(network_).values_at(places, sites);
  const at::Tensor keys = keys_of(found[0]).to(at::kDouble);
  return {keys, place_.matrix.activated ? applied(keys) : found[1].to(at::kDouble)};
}

EditedValue EditSlot::edited() const {
  return {{place_.matrix.value, layer_},
          [this](const std::vector<PromptToken>& places) { return values(places).outputs; },
          [this](const at::Tensor& outputs) { return written(outputs); }};
}

at::Tensor EditSlot::written(const at::Tensor& outputs) const {
  return place_.matrix.activated ? reference::activated(outputs, kernels::Activation::kSilu)
                                 : outputs;
}

at::Tensor EditSlot::applied(const at::Tensor& keys) const {
  const EditableMatrix& matrix = place_.matrix;
  const at::Tensor y = keys.to(at::kDouble).matmul(weight().to(at::kDouble).t());
  return matrix.bias.defined() ? y + matrix.bias.narrow(0, matrix.first_row, matrix.rows) : y;
}

at::Tensor EditSlot::weight() const {
  const EditableMatrix& matrix = place_.matrix;
  return matrix.projection->weight()
      .narrow(0, matrix.first_row, matrix.rows)
      .narrow(1, matrix.first_column, matrix.columns);
}

at::Tensor EditSlot::keys_of(const at::Tensor& values) const {
  return place_.matrix.key ? values : reference::normalised(values, *place_.norm);
}

bool EditSlot::shares_keys(const EditSlot& other) const {
  return key_site() == other.key_site() && place_.matrix.key == other.place_.matrix.key &&
         place_.norm == other.place_.norm;
}

// The weight gets other memory: its own may be a map of the checkpoint's file, which is read only.
AppliedEdit::AppliedEdit(Network&, const EditSlot& slot, const at::Tensor& delta) {
  const at::NoGradGuard no_graph;
  const at::Tensor weight = slot.weight();
  if (delta.sizes() != weight.sizes())
    throw std::invalid_argument(fmt::format("an edit of {} x {} for a matrix of {} x {}",
                                            delta.size(0), delta.size(1), weight.size(0),
                                            weight.size(1)));
  weight_ = weight.storage();
  other_ = at::empty({0}, weight.options()).set_(weight_).clone().storage();
  swap_memory(weight_, other_);
  weight.add_(delta.to(weight.device()));
}

AppliedEdit::~AppliedEdit() {
  swap_memory(weight_, other_);
}

at::Tensor mean_keys(const EditSlot& slot, std::span<const EditRequest> requests) {
  std::vector<PromptToken> places;
  std::vector<std::int64_t> counts;
  for (const EditRequest& request : requests) {
    const std::vector<PromptToken> more = subject_places(request);
    places.insert(places.end(), more.begin(), more.end());
    counts.push_back(static_cast<std::int64_t>(more.size()));
  }
  std::vector<at::Tensor> means;
  for (const at::Tensor& keys : slot.keys(places).split_with_sizes(counts))
    means.push_back(keys.mean(0));
  return at::stack(means);
}

std::vector<PromptOutcome> outcomes(const Network& network, const EditRequest& request) {
  std::vector<std::vector<int>> prompts = {request.prompt};
  prompts.insert(prompts.end(), request.neighbours.begin(), request.neighbours.end());
  std::vector<Continuation> asked;
  for (const std::vector<int>& prompt : prompts) {
    asked.push_back({prompt, request.target});
    asked.push_back({prompt, {request.answer}});
  }
  const std::vector<ContinuationOutcome> found = continuations(network, asked);
  std::vector<PromptOutcome> all;
  for (size_t i = 0; i < found.size(); i += 2)
    all.push_back({found[i].log_first, found[i + 1].log_first, found[i].target_nll});
  return all;
}

}  // namespace factflow
