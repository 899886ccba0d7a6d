#include "experiments/edit/edit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text_file.hpp"
#include "experiments/edit/edit_plan.hpp"
#include "experiments/edit/edit_work.hpp"
#include "model/edit/memit.hpp"

namespace factflow {
namespace {

// Nothing: the layer has none.
std::optional<MatrixShape> matrix_of(const LayerShape& layer, EditedMatrix matrix) {
  for (const LayerMatrixShape& one : matrices_of(layer))
    if (one.matrix.name == matrix) return one.matrix;
  return std::nullopt;
}

bool has_matrix(const LayerShape& layer, EditedMatrix matrix) {
  return matrix_of(layer, matrix).has_value();
}

EditPlace::Size size_of(const LayerShape& layer, EditedMatrix matrix, int hidden) {
  const MatrixShape of = matrix_of(layer, matrix).value();
  return {of.key ? site_width(layer, *of.key, hidden) : hidden,
          site_width(layer, of.value, hidden)};
}

bool is_gated(const LayerShape& layer) {
  const std::vector<Site> sites = sites_of(layer);
  return std::find(sites.begin(), sites.end(), Site::kY) != sites.end();
}

class EditPlanner {
 public:
  explicit EditPlanner(const ModelToPlan& model) : model_(model) {
    plan_.layers = model.architecture.layers;
  }

  // `key` names a key of the entry's.
  template <class Key>
  Asked asked_by(const EditConfig& entry, const Key& key) {
    check_precision();
    const EditConfig common = in_common(entry);
    if (!first_) {
      check_text(entry, key("covariance.text"));
      plan_.config = common;
      plan_.pool = fact_pool(model_.prompts, entry.seed);
    } else if (!(*first_ == common)) {
      refuse_other_settings(key("search"));
    }
    first_ = common;
    take_memit(entry, key("memit"));
    std::set<std::uint32_t> items;
    for (const EditPlace& place : places(entry, key("matrices"), key("layers")))
      items.insert(item_of(place));
    Asked asked;
    for (const std::uint32_t item : items) asked.push_back({item, {}});
    return asked;
  }

  EditPlan plan() { return std::move(plan_); }

 private:
  static EditConfig in_common(EditConfig entry) {
    static_cast<Entry&>(entry) = Entry();
    entry.method = {};
    entry.memit = {};
    entry.matrices.clear();
    entry.layers.clear();
    return entry;
  }

  [[noreturn]] void refuse_other_settings(const std::string& key) const {
    throw InputError(
        model_.file.string(),
        fmt::format("key {}: model {} has other settings in an earlier entry", key, model_.name),
        "entries for one model may differ in method, matrices, layers and prompts "
        "alone");
  }

  void take_memit(const EditConfig& entry, const std::string& key) {
    if (entry.method != EditMethod::kMemit) {
      if (!(entry.memit == MemitConfig()))
        throw InputError(model_.file.string(),
                         fmt::format("key {}: this entry's method is rome", key),
                         "write method: memit, or leave it out");
      return;
    }
    if (memit_.value_or(entry.memit) != entry.memit) refuse_other_settings(key);
    memit_ = plan_.config.memit = entry.memit;
  }

  void check_precision() const {
    for (const Precision possible : {Precision::kFp64, Precision::kFp32, Precision::kTf32})
      if (model_.precision == possible) return;
    throw InputError(model_.file.string(),
                     fmt::format("key run.precision: edits are computed in fp32, tf32 or fp64, not "
                                 "in {}",
                                 to_string(model_.precision)),
                     "choose one of these, or leave edit out");
  }

  void check_text(const EditConfig& entry, const std::string& key) const {
    if (entry.covariance.text.source != KeyText::Source::kFile) return;
    try {
      read_text_file(entry.covariance.text.file, std::numeric_limits<std::size_t>::max());
    } catch (const InputError& error) {
      throw InputError(model_.file.string(), fmt::format("key {}: {}", key, error.what()),
                       "name a text file, or one of sampled, dataset, none");
    }
  }

  std::vector<EditPlace> places(const EditConfig& entry, const std::string& matrices_key,
                                const std::string& layers_key) const {
    std::vector<EditedMatrix> matrices = entry.matrices;
    if (matrices.empty()) matrices = {usual_matrix(matrices_key)};
    std::vector<EditPlace> places;
    for (const EditedMatrix matrix : matrices) {
      const std::set<std::int32_t> layers = layers_of(entry, matrix, matrices_key, layers_key);
      if (entry.method == EditMethod::kMemit) {
        places.push_back(spread(matrix, {layers.begin(), layers.end()}, matrices_key, layers_key));
        continue;
      }
      for (const std::int32_t layer : layers)
        places.push_back({entry.method, matrix, {layer}, size_at(layer, matrix)});
    }
    return places;
  }

  // Those that an entry names; Sharma et al. edit layer 15 of 64 by default.
  std::set<std::int32_t> layers_of(const EditConfig& entry, EditedMatrix matrix,
                                   const std::string& matrices_key,
                                   const std::string& layers_key) const {
    const int count = model_.architecture.layers;
    std::set<std::int32_t> layers(entry.layers.begin(), entry.layers.end());
    if (layers.empty() && entry.method == EditMethod::kMemit)
      refuse(layers_key, "memit spreads an edit over several layers, and has none by default",
             "name them; Meng et al. take 3 to 8 of 28");
    if (layers.empty()) layers = {static_cast<int>(std::lround(15.0 * (count - 1) / 63))};
    if (entry.layers == kAllLayers) {
      layers.clear();
      for (int layer = 0; layer < count; ++layer)
        if (has_matrix(shape(layer), matrix)) layers.insert(layer);
      if (layers.empty())
        refuse(matrices_key, fmt::format("no layer has a matrix {}", to_string(matrix)));
    }
    for (const std::int32_t layer : layers) {
      if (layer >= count)
        refuse(layers_key, fmt::format("there is no layer {}; the model has {}", layer, count));
      if (!has_matrix(shape(layer), matrix))
        refuse(matrices_key, fmt::format("layer {} ({}) has no matrix {}", layer,
                                         layer_name(shape(layer)), to_string(matrix)));
    }
    return layers;
  }

  EditPlace spread(EditedMatrix matrix, const std::vector<std::int32_t>& layers,
                   const std::string& matrices_key, const std::string& layers_key) const {
    constexpr const char* kRemedy = "edit it by method: rome";
    if (matrix != EditedMatrix::kWo && matrix != EditedMatrix::kWdown)
      refuse(matrices_key,
             fmt::format("memit edits what adds to the stream, W_o or W_down, not {}",
                         to_string(matrix)),
             kRemedy);
    const EditPlace::Size size = size_at(layers.front(), matrix);
    for (const std::int32_t layer : layers) {
      if (!adds_to_the_stream(shape(layer)))
        refuse(layers_key,
               fmt::format("memit spreads over {} what the stream lacks, and in layer {} a norm or "
                           "a factor stands between the two",
                           to_string(matrix), layer),
               kRemedy);
      if (!(size_at(layer, matrix) == size))
        refuse(layers_key,
               fmt::format("memit wants matrices of one size, and {} of layers {} and {} differ",
                           to_string(matrix), layers.front(), layer));
    }
    return {EditMethod::kMemit, matrix, layers, size};
  }

  EditPlace::Size size_at(int layer, EditedMatrix matrix) const {
    return size_of(shape(layer), matrix, model_.architecture.hidden);
  }

  // W_o of a Mamba, W_down of a Transformer.
  EditedMatrix usual_matrix(const std::string& key) const {
    const std::vector<LayerShape>& layers = model_.architecture.blocks;
    const auto some = [&](const auto& has) {
      return std::any_of(layers.begin(), layers.end(), has);
    };
    if (some(is_gated)) return EditedMatrix::kWo;
    for (const EditedMatrix matrix : {EditedMatrix::kWdown, EditedMatrix::kWo})
      if (some([&](const LayerShape& layer) { return has_matrix(layer, matrix); })) return matrix;
    refuse(key, "the model has neither W_o nor W_down");
  }

  const LayerShape& shape(int layer) const {
    return model_.architecture.blocks[static_cast<std::size_t>(layer)];
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& problem,
                           const std::string& remedy =
                               "leave it to models that have it by an entry with models: "
                               "[...]") const {
    throw InputError(model_.file.string(),
                     fmt::format("key {}: model {}: {}", key, model_.name, problem), remedy);
  }

  std::uint32_t item_of(const EditPlace& place) {
    const auto found = std::find(plan_.places.begin(), plan_.places.end(), place);
    const auto item = static_cast<std::uint32_t>(found - plan_.places.begin());
    if (found == plan_.places.end()) plan_.places.push_back(place);
    return item;
  }

  const ModelToPlan& model_;
  EditPlan plan_;
  std::optional<EditConfig> first_;
  std::optional<MemitConfig> memit_;  // of the first entry of this method
};

class EditKind final : public ExperimentKind {
 public:
  std::string name() const override { return "edit"; }
  std::uint32_t number() const override { return 7; }

  std::string section() const override { return "edit"; }
  Form<Entries> form() const override { return section_form(edit_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    EditPlanner planner(model);
    PlannedWork planned;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Asked& asked = planned.asked.emplace_back();
      const auto& entry = static_cast<const EditConfig&>(*entries[i]);
      if (!is_for(entry, model.name)) continue;
      const auto key = [&](const char* of) {
        return key_in_entry(section(), i, entries.size(), of);
      };
      asked = planner.asked_by(entry, key);
    }
    planned.work = edit_work(planner.plan());
    return planned;
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return edit_work(from_bytes<EditPlan>(bytes, "the plan of edits"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to edit" : in_words(count, asked, "selected prompt", "edited");
  }
};

}  // namespace

const ExperimentKind& edit_kind() {
  static const EditKind kind;
  return kind;
}

}  // namespace factflow
