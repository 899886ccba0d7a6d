#include "analysis/report_data.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "analysis/figures.hpp"
#include "analysis/html.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/model_styles.hpp"
#include "analysis/palette.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int16_t kMissing = std::numeric_limits<std::int16_t>::min();
constexpr double kLargest = 32'767;         // of packed numbers, either way
constexpr double kPerProbability = 10'000;  // stored = p * 10,000
constexpr double kPerPercent = 10;          // stored = percent * 10

// Rounded, so that the text is short; NaN becomes null.
Json rounded(double value, double per_unit = 100) {
  if (!std::isfinite(value)) return nullptr;
  return std::round(value * per_unit) / per_unit + 0.0;  // no -0
}

// Little-endian, missing = the smallest number; what is too large takes the largest.
class PackedNumbers {
 public:
  void add(double value, double per_unit) {
    const double scaled = std::clamp(std::round(value * per_unit), -kLargest, kLargest);
    cut_ = cut_ || std::abs(value * per_unit) > kLargest;
    const auto number = static_cast<std::uint16_t>(
        std::isfinite(value) ? static_cast<std::int16_t>(scaled) : kMissing);
    bytes_ += static_cast<char>(number & 0xFF);
    bytes_ += static_cast<char>(number >> 8);
  }
  std::string base64() const { return html::base64(bytes_); }
  bool cut() const { return cut_; }  // whether some number was too large

 private:
  std::string bytes_;
  bool cut_ = false;
};

class DataMaker {
 public:
  DataMaker(const Study& study, const ReportLimits& limits) : study_(study), limits_(limits) {
    for (std::size_t m = 0; m < study.run.models.size(); ++m) {
      knockout_maps_.push_back(stored_maps(m, "heatmap", ""));
      for (const InterventionMap& map : intervention_maps(study.run.models[m]))
        row_maps_.push_back(stored_maps(m, map.group, map.row));
    }
  }

  ReportData make() {
    Json page;
    page["window"] = study_.window;
    page["models"] = models();
    page["edges"] = edges();
    page["sets"] = sets();
    page["windows"] = windows();
    choose_prompts();
    page["prompts"] = prompts();
    page["clean"] = clean();
    page["promptCurves"] = prompt_curves();
    page["heatmaps"] = heatmaps(knockout_maps_, "heat map");
    page["interventions"] = interventions();
    page["interventionMaps"] = heatmaps(row_maps_, "map of interventions");
    std::string json = page.dump(-1, ' ', false, Json::error_handler_t::replace);
    std::string safe;
    safe.reserve(json.size());
    for (const char c : json) c == '<' ? safe += "\\u003c" : safe += c;
    return {std::move(safe), std::move(omitted_)};
  }

 private:
  // The maps of one kind, or of one row of interventions, of a model.
  struct StoredMaps {
    std::size_t model = 0;
    std::string group, row;
    std::map<std::int64_t, std::set<std::int64_t>> windows;  // window -> prompts
  };

  StoredMaps stored_maps(std::size_t m, const std::string& group, const std::string& row) const {
    StoredMaps maps{m, group, row, {}};
    const ModelData& model = study_.run.models[m];
    for (const std::int64_t window : heatmap_windows(model, group)) {
      const std::vector<std::int64_t> ids = heatmap_prompts(model, window, group);
      maps.windows[window] = {ids.begin(), ids.end()};
    }
    return maps;
  }

  Json models() {
    std::vector<std::string> families;
    for (const ModelData& model : study_.run.models) families.push_back(model.info.family);
    const std::vector<LineStyle> styles = model_styles(families);
    Json list = Json::array();
    for (std::size_t i = 0; i < styles.size(); ++i) {
      const ModelInfo& info = study_.run.models[i].info;
      const LineStyle& style = styles[i];
      list.push_back({{"name", info.name},
                      {"family", info.family},
                      {"stateSpace", mixing_of(info) == Mixing::kState},
                      {"layers", info.layers},
                      {"mixers", mixers_in_letters(info)},
                      {"color", style.color},
                      {"dash", style.dash},
                      {"marker", style.marker}});
    }
    return list;
  }

  // Main sets are one, whatever they are called: "".
  static std::string set_of(const Curve& curve) { return curve.main_set ? "" : curve.prompts; }

  // Names of the sets of prompts, the main one first.
  Json sets() {
    set_index_.emplace("", 0);
    std::set<std::string> main_names;
    Json list = {""};
    for (const Curve& curve : study_.curves) {
      if (curve.main_set) main_names.insert(curve.prompts);
      if (set_index_.emplace(set_of(curve), list.size()).second) list.push_back(curve.prompts);
    }
    list[0] = main_names.size() == 1 ? *main_names.begin() : "main";
    return list;
  }

  // Every edge of any curve.
  Json edges() {
    Json list = Json::array();
    for (const Curve& curve : study_.curves) {
      const EdgeName& edge = curve.edge;
      if (!edge_index_.emplace(edge.label, list.size()).second) continue;
      const LineStyle role = role_style(edge.source), channels = channel_style(edge.channels);
      list.push_back({{"name", edge.display()},
                      {"flow", parse_edge(edge.flow()).display()},
                      {"source", edge.source},
                      {"target", edge.target},
                      {"channels", edge.channels},
                      {"path", edge.path},
                      {"ends", parse_edge(edge.ends()).display()},
                      {"color", role.color},
                      {"dash", role.dash},
                      {"channelColor", channels.color},
                      {"channelDash", channels.dash},
                      {"channelMarker", channels.marker}});
    }
    return list;
  }

  // `json` with the curve's numbers.
  static Json with_numbers(Json json, const Curve& curve) {
    std::map<std::string, Json> columns;
    for (const CurvePoint& point : curve.points) {
      columns["n"].push_back(point.n);
      columns["change"].push_back(rounded(point.change));
      columns["changeLow"].push_back(rounded(point.change_interval.low));
      columns["changeHigh"].push_back(rounded(point.change_interval.high));
      columns["accuracy"].push_back(rounded(point.accuracy));
      columns["accuracyLow"].push_back(rounded(point.accuracy_interval.low));
      columns["accuracyHigh"].push_back(rounded(point.accuracy_interval.high));
      columns["median"].push_back(rounded(point.median_change));
      columns["log"].push_back(rounded(point.log_change, 1000));
    }
    for (auto& [name, values] : columns) json[name] = std::move(values);
    return json;
  }

  std::map<std::string, std::size_t> model_index() const {
    std::map<std::string, std::size_t> index;
    for (std::size_t m = 0; m < study_.run.models.size(); ++m)
      index[study_.run.models[m].info.name] = m;
    return index;
  }

  // Of the curves of one model and window size, without any.
  static Json group_json(std::size_t model, const Curve& curve) {
    Json group = {
        {"model", model}, {"window", curve.window}, {"centred", curve.placement == "centred"}};
    Json starts = Json::array();
    for (const CurvePoint& point : curve.points) starts.push_back(point.start);
    group["starts"] = std::move(starts);
    group["curves"] = Json::array();
    return group;
  }

  // [{model, window, centred, starts, curves}]
  Json windows() const {
    const std::map<std::string, std::size_t> index = model_index();
    std::map<std::pair<std::size_t, std::int64_t>, Json> groups;
    for (const Curve& curve : study_.curves) {
      const std::size_t model = index.at(curve.model);
      Json& group = groups[{model, curve.window}];
      if (group.is_null()) group = group_json(model, curve);
      group["curves"].push_back(with_numbers(
          {{"edge", edge_index_.at(curve.edge.label)}, {"set", set_index_.at(set_of(curve))}},
          curve));
    }
    Json list = Json::array();
    for (auto& [key, group] : groups) list.push_back(std::move(group));
    return list;
  }

  // [{model, window, centred, starts, curves, prompts}], curves with the panel and the look that
  // they have in the figures; prompts: "" for the main set.
  Json interventions() const {
    const std::map<std::string, std::size_t> index = model_index();
    Json list = Json::array();
    for (const ModelData& model : study_.run.interventions)
      for (const std::int64_t window : model.windows) {
        std::vector<const Curve*> curves;
        for (const Curve& curve : study_.intervention_curves)
          if (curve.model == model.info.name && curve.prompts == model.prompt_set &&
              curve.window == window)
            curves.push_back(&curve);
        if (curves.empty()) continue;
        Json group = group_json(index.at(model.info.name), *curves[0]);
        group["prompts"] = model.main_set ? "" : model.prompt_set;
        for (const Curve* curve : curves) group["curves"].push_back(row_json(model, *curve));
        list.push_back(std::move(group));
      }
    return list;
  }

  // Rows keep their looks at every window size.
  static Json row_json(const ModelData& model, const Curve& curve) {
    const auto found =
        std::find_if(model.edges.begin(), model.edges.end(),
                     [&](const EdgeName& row) { return row.label == curve.edge.label; });
    const auto row = static_cast<std::size_t>(found - model.edges.begin());
    const RowPlace place = place_of_row(row, model.edges.size());
    const LineStyle style = plain_style(place.line);
    return with_numbers({{"name", curve.edge.display()},
                         {"panel", place.panel},
                         {"color", style.color},
                         {"dash", style.dash},
                         {"marker", style.marker}},
                        curve);
  }

  // Prompts with heat maps, then the other swept ones, as rows of the prompt table.
  void choose_prompts() {
    std::set<std::int64_t> mapped, swept;
    for (const ModelData& model : study_.run.models)
      swept.insert(model.axes.prompts.begin(), model.axes.prompts.end());
    for (const auto* list : {&knockout_maps_, &row_maps_})
      for (const StoredMaps& maps : *list)
        for (const auto& [window, ids] : maps.windows) mapped.insert(ids.begin(), ids.end());
    const std::vector<std::int64_t>& ids = study_.run.prompts.id;
    for (const bool with_map : {true, false})
      for (std::size_t row = 0; row < ids.size(); ++row)
        if (mapped.contains(ids[row]) == with_map && (with_map || swept.contains(ids[row])))
          rows_.push_back(row);
    if (rows_.size() > limits_.prompts) {
      omitted_.push_back(fmt::format("The prompt browser holds {} of {}.", limits_.prompts,
                                     counted(rows_.size(), "prompt")));
      rows_.resize(limits_.prompts);
    }
    for (std::size_t i = 0; i < rows_.size(); ++i) place_.emplace(ids[rows_[i]], i);
  }

  Json prompts() const {
    const PromptTable& table = study_.run.prompts;
    Json list = Json::array();
    for (const std::size_t row : rows_)
      list.push_back({{"id", table.id[row]},
                      {"text", table.text[row]},
                      {"subject", table.subject[row]},
                      {"answer", table.answer[row]},
                      {"relation", table.relation[row]}});
    return list;
  }

  // For each model, of each prompt: probability and rank of the answer, the likeliest token. null =
  // not evaluated.
  Json clean() const {
    Json list = Json::array();
    for (const ModelData& model : study_.run.models) {
      const EvaluationResult& evaluation = model.evaluation;
      std::vector<Json> cells(rows_.size());
      for (std::size_t row = 0; row < evaluation.prompt.size(); ++row) {
        const auto found = place_.find(evaluation.prompt[row]);
        if (found == place_.end()) continue;
        const auto top = static_cast<std::size_t>(evaluation.top);
        cells[found->second] = {
            rounded(static_cast<double>(evaluation.probability[row]), kPerProbability),
            evaluation.rank[row], top > 0 ? evaluation.top_text[row * top] : ""};
      }
      list.push_back(std::move(cells));
    }
    return list;
  }

  // How many of the chosen prompts get curves of their own: as many as the limit admits.
  std::size_t prompts_with_curves(const std::vector<const ModelData*>& models) {
    std::size_t cells = 0;  // for each prompt
    for (const ModelData* model : models)
      for (const EdgeName& edge : model->edges)
        if (edge.whole()) cells += static_cast<std::size_t>(model->info.layers);
    const std::size_t fitting = cells == 0 ? 0 : limits_.prompt_cells / cells;
    if (fitting < rows_.size() && cells > 0)
      omitted_.push_back(fmt::format("Curves of single prompts are held for the first {} of {}.",
                                     fitting, counted(rows_.size(), "prompt")));
    return std::min(fitting, rows_.size());
  }

  // At the finding window: changes of single prompts, [prompt, start], all channels only.
  Json prompt_curves() {
    std::vector<const ModelData*> models;
    for (const ModelData& model : study_.run.models)
      if (!model.windows.empty()) models.push_back(&model);
    const std::size_t count = prompts_with_curves(models);
    Json list = Json::array();
    bool cut = false;
    for (const ModelData* model : models) {
      const WindowData window = load_window(*model, window_of(*model, study_.window));
      std::map<std::int64_t, std::size_t> column;
      for (std::size_t i = 0; i < model->axes.prompts.size(); ++i)
        column.emplace(model->axes.prompts[i], i);
      for (const std::size_t edge : window.edges) {
        if (!model->edges[edge].whole()) continue;
        PackedNumbers values;
        for (std::size_t i = 0; i < count; ++i) {
          const auto found = column.find(study_.run.prompts.id[rows_[i]]);
          for (std::size_t start = 0; start < window.starts(); ++start)
            values.add(found == column.end() ? std::numeric_limits<double>::quiet_NaN()
                                             : window.change(edge, found->second, start),
                       kPerPercent);
        }
        cut = cut || values.cut();
        list.push_back({{"model", model - study_.run.models.data()},
                        {"window", window.cells.window},
                        {"edge", edge_index_.at(model->edges[edge].label)},
                        {"values", values.base64()}});
      }
    }
    if (cut)
      omitted_.push_back(
          fmt::format("Relative changes of single prompts beyond {:.0f} % are drawn at that value.",
                      kLargest / kPerPercent));
    return list;
  }

  Json heatmap(std::size_t m, const HeatmapResult& map) const {
    const ModelData& model = study_.run.models[m];
    PackedNumbers values;
    for (const float p : map.probability) values.add(static_cast<double>(p), kPerProbability);
    Json json = {{"model", m},
                 {"window", map.window},
                 {"prompt", place_.at(map.prompt)},
                 {"tokens", map.tokens},
                 {"starts", map.starts},
                 {"centred", map.placement == "centred"},
                 {"values", values.base64()}};
    if (!map.token_ids.empty()) json["ids"] = map.token_ids;
    const auto& ids = model.evaluation.prompt;
    const auto row =
        static_cast<std::size_t>(std::find(ids.begin(), ids.end(), map.prompt) - ids.begin());
    if (row < ids.size())
      json["subject"] = {model.evaluation.subject_begin[row], model.evaluation.subject_end[row]};
    return json;
  }

  // Of heat maps, or of all rows' maps.
  Json heatmaps(const std::vector<StoredMaps>& stored, const char* kind) {
    Json list = Json::array();
    std::size_t cells = 0, left_out = 0;
    // Prompt by prompt over all models: a limit should not leave whole models out.
    for (const std::size_t row : rows_)
      for (const StoredMaps& maps : stored)
        for (const auto& [window, ids] : maps.windows) {
          const std::int64_t id = study_.run.prompts.id[row];
          if (!ids.contains(id)) continue;
          const HeatmapResult map =
              load_heatmap(study_.run.models[maps.model], window, id, maps.group);
          cells += map.probability.size();
          if (cells > limits_.heatmap_cells) {
            ++left_out;
            continue;
          }
          list.push_back(heatmap(maps.model, map));
          if (!maps.row.empty()) list.back()["row"] = name_of_row(maps.row).display();
        }
    if (left_out > 0)
      omitted_.push_back(
          fmt::format("The page lacks {} of the {} {}s.", left_out, left_out + list.size(), kind));
    return list;
  }

  const Study& study_;
  const ReportLimits& limits_;
  std::map<std::string, std::size_t> edge_index_, set_index_;
  std::vector<std::size_t> rows_;              // of the prompt table: what the browser holds
  std::map<std::int64_t, std::size_t> place_;  // of a prompt's id in rows_
  std::vector<StoredMaps> knockout_maps_, row_maps_;
  std::vector<std::string> omitted_;
};

}  // namespace

ReportData report_data(const Study& study, const ReportLimits& limits) {
  return DataMaker(study, limits).make();
}

}  // namespace factflow
