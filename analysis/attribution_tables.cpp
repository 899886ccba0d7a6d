#include "analysis/attribution_tables.hpp"

#include <limits>
#include <string>

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void put(CsvTable& table, const CellNumber& number) {
  table.cell(number.value).cell(number.interval.low).cell(number.interval.high);
}

// `layer`: as text, "all" for all of them.
void add_row(const ModelAttributions& model, const SiteAgreement& of, const Agreement& agreement,
             const std::string& layer, const std::string& published, CsvTable& table) {
  table.cell(model.model).cell(model.family).cell(model.layers);
  table.cell(of.site).cell(to_string(of.method));
  table.cell(of.method == EstimateMethod::kIntegrated ? model.steps : std::int64_t{0});
  table.cell(layer).cell(published);
  table.cell(agreement.cells).cell(agreement.prompts).cell(agreement.facts);
  put(table, agreement.correlation);
  table.cell(agreement.signed_cells);
  put(table, agreement.same_sign);
  put(table, agreement.difference);
  const bool any = agreement.worst.has_value();
  const WorstCell worst = agreement.worst.value_or(WorstCell{});
  table.cell(any ? worst.exact : kNan).cell(any ? worst.estimate : kNan);
  table.cell(any ? worst.prompt : std::int64_t{-1}).cell(any ? worst.token : std::int64_t{-1});
  table.cell(std::int64_t{any ? worst.layer : -1});
  table.cell(std::int64_t{agreement.trusted() ? 1 : 0}).end_row();
}

}  // namespace

CsvTable attributions_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "layers",
                  "site",
                  "method",
                  "steps",
                  "layer",
                  "published_layer",
                  "cells",
                  "prompts",
                  "facts",
                  "correlation",
                  "correlation_low",
                  "correlation_high",
                  "signed_cells",
                  "same_sign",
                  "same_sign_low",
                  "same_sign_high",
                  "mean_difference",
                  "mean_difference_low",
                  "mean_difference_high",
                  "worst_exact",
                  "worst_estimate",
                  "worst_prompt",
                  "worst_token",
                  "worst_layer",
                  "trusted"});
  for (const ModelAttributions& model : study.attributions)
    for (const SiteAgreement& of : model.sites) {
      for (std::size_t layer = 0; layer < of.layers.size(); ++layer) {
        const auto place = static_cast<std::int32_t>(layer);
        add_row(model, of, of.layers[layer], std::to_string(place),
                std::to_string(published_layer(of.site, place)), table);
      }
      add_row(model, of, of.all, "all", "all", table);
    }
  return table;
}

}  // namespace factflow
