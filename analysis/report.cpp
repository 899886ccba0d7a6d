#include "analysis/report.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/attribution_report.hpp"
#include "analysis/baselines_report.hpp"
#include "analysis/beyond_questions_report.hpp"
#include "analysis/carrier_report.hpp"
#include "analysis/combined_report.hpp"
#include "analysis/coverage.hpp"
#include "analysis/edit_report.hpp"
#include "analysis/findings.hpp"
#include "analysis/html.hpp"
#include "analysis/linear_relation_report.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/mean_knockout_report.hpp"
#include "analysis/number_text.hpp"
#include "analysis/palette.hpp"
#include "analysis/parts_report.hpp"
#include "analysis/path_report.hpp"
#include "analysis/positions_report.hpp"
#include "analysis/report_assets.hpp"
#include "analysis/severing_report.hpp"
#include "analysis/surge_report.hpp"
#include "analysis/trace_report.hpp"
#include "analysis/whole_answers_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostFailures = 200;
constexpr std::size_t kMostPairs = 200;
constexpr std::size_t kMostOpenRows = 40;  // longer tables are folded, so that the claims are seen

std::string link(const std::string& file, const std::string& text) {
  return fmt::format("<a href=\"{}\">{}</a>", escape(file), escape(text));
}

const char* verdict_class(Verdict verdict) {
  if (verdict == Verdict::kHolds) return "holds";
  if (verdict == Verdict::kPartly) return "partly";
  return verdict == Verdict::kDoesNotHold ? "fails" : "open";
}

std::string verdict_html(Verdict verdict) {
  return fmt::format("<span class=\"verdict {}\">{}</span>", verdict_class(verdict),
                     to_string(verdict));
}

// "selected, n = 147", "common, n = 120 to 147": the sets of prompts that something was asked of,
// with how many of them models were asked about.
std::string sets_in_words(const RunData& run) {
  struct Count {
    std::string set;
    std::size_t least = 0, most = 0;
  };
  std::vector<Count> counts;
  for (const auto* models : {&run.models, &run.other_sets, &run.interventions})
    for (const ModelData& model : *models) {
      const std::size_t n = model.axes.prompts.size();
      if (n == 0) continue;
      const auto found = std::find_if(counts.begin(), counts.end(), [&](const Count& count) {
        return count.set == model.prompt_set;
      });
      if (found == counts.end())
        counts.push_back({model.prompt_set, n, n});
      else
        *found = {found->set, std::min(found->least, n), std::max(found->most, n)};
    }
  std::vector<std::string> words;
  for (const Count& count : counts)
    words.push_back(fmt::format("{}, n = {}{}", count.set, count.least,
                                count.most > count.least ? fmt::format(" to {}", count.most) : ""));
  return join(words, "; ");
}

// Which prompts the page is about.
std::string prompts_html(const Study& study) {
  const std::string sets = sets_in_words(study.run);
  std::vector<std::string> selections;
  for (const RunSource& source : study.run.sources)
    if (std::find(selections.begin(), selections.end(), source.info.selection) == selections.end())
      selections.push_back(source.info.selection);
  std::string limits;
  if (study.p_clean.any())
    limits = fmt::format("; of these only such with p(clean) from {:g} to {:g}", study.p_clean.low,
                         study.p_clean.high);
  return fmt::format(
      "<p>Prompts: {} ({}), of {} read{}.</p>\n",
      sets.empty() ? "none was asked about" : "<strong>" + escape(sets) + "</strong>",
      escape(join(selections, "; ")), study.run.prompts.id.size(), limits);
}

std::string header_html(const Study& study) {
  std::vector<std::string> names;
  for (const ModelData& model : study.run.models) names.push_back(model.info.name);
  std::string text =
      fmt::format("<header><h1>Where facts flow: {}</h1>\n<p>{}: {}.</p>\n", escape(study.run.name),
                  counted(names.size(), "model"), escape(join(names)));
  text += prompts_html(study);
  for (const RunSource& source : study.run.sources)
    text += fmt::format("<p>{}: prompts of {}, computed {} on {} in {}; factflow {}.</p>\n",
                        escape(source.info.name), escape(source.info.dataset_path),
                        escape(source.info.created), escape(source.info.device),
                        escape(source.info.precision), escape(source.info.factflow_version));
  return text;
}

// Links to the sections that `body` has.
std::string navigation(const std::string& body) {
  constexpr std::pair<const char*, const char*> kSections[] = {
      {"questions", "Questions"},
      {"findings", "Findings"},
      {"carriers", "Who carries it"},
      {"claims", "Claims"},
      {"figures", "Figures"},
      {"prompts", "Prompts"},
      {"pairs", "Pairs"},
      {"interventions", "Interventions"},
      {"paths", "Paths"},
      {"parts", "Parts"},
      {"traces", "Traces"},
      {"severings", "Severed paths"},
      {"attributions", "Gradient estimates"},
      {"mean-knockouts", "Knockouts by means"},
      {"edits", "Edits"},
      {"relations", "Linear relations"},
      {"combined", "Combined"},
      {"baselines", "Baselines"},
      {"surge", "Surge"},
      {"position", "Position"},
      {"answers", "Whole answers"},
      {"models", "Models"},
      {"files", "Files"},
      {"run", "Provenance"}};
  std::string text = "<nav>";
  for (const auto& [id, name] : kSections)
    if (body.find(fmt::format("<section id=\"{}\">", id)) != std::string::npos)
      text += fmt::format("<a href=\"#{}\">{}</a>", id, name);
  return text + "</nav></header>\n";
}

std::string lowest_cell(const EdgeEffect& effect) {
  const double width = std::clamp(-effect.lowest.value, 0.0, 100.0) * 0.05;
  const bool drop = is_drop(effect);
  return fmt::format(
      "<span class=\"{}\">{}</span>&ensp;<span class=\"barbox\"><span class=\"bar\" "
      "style=\"width:{:.2f}rem{}\"></span></span>",
      drop ? "" : "weak", html::prose(signed_number(effect.lowest.value, 1)), width,
      drop ? "" : ";opacity:.35");
}

// "[-1.5, +2.0]"; nothing where there is none.
std::string interval_cell(const Interval& interval) {
  return html::prose(interval_text(interval, ""));
}

std::string depth_cell(const Estimate& depth) {
  const Interval& interval = depth.by_fact;
  if (std::isnan(interval.low)) return fmt::format("{:.2f}", depth.value);
  return fmt::format("{:.2f} [{:.2f}, {:.2f}]", depth.value, interval.low, interval.high);
}

std::string p_cell(double p) {
  if (std::isnan(p)) return "";
  return p < 0.0001 ? "&lt; 0.0001" : fmt::format("{:.4f}", p);
}

// The columns that tables of effects share.
const std::vector<std::string> kEffectColumns = {
    "Lowest mean (%)", "95 % interval",  "Median (%)", "Log change", "p",
    "at start",        "Relative depth", "Prompts",    "Facts"};

void add_effect(const EdgeEffect& e, std::vector<std::string>& row) {
  if (e.n == 0) {
    row.insert(row.end(), {escape(e.missing), "", "", "", "", "", "", "0", "0"});
    return;
  }
  row.insert(row.end(), {lowest_cell(e), interval_cell(e.lowest.by_fact),
                         html::prose(signed_number(e.at_lowest.median, 1)),
                         html::prose(signed_number(e.at_lowest.log, 2)), p_cell(e.p_holm),
                         fmt::format("{:.0f} of {}", e.start.value, e.layers), depth_cell(e.depth),
                         std::to_string(e.n), std::to_string(e.facts)});
}

// Folded where it is long.
std::string effects_table(const char* what, std::vector<std::string> columns,
                          const std::vector<std::vector<std::string>>& rows) {
  columns.insert(columns.end(), kEffectColumns.begin(), kEffectColumns.end());
  return fmt::format("<details{}><summary>{}: {}</summary>{}</details>\n",
                     rows.size() <= kMostOpenRows ? " open" : "", what, counted(rows.size(), "row"),
                     html::table(columns, rows, 2));
}

std::string findings_table(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const EdgeEffect& e : study.main_effects) {
    rows.push_back({escape(e.model), escape(e.edge.display()), std::to_string(e.window)});
    add_effect(e, rows.back());
  }
  return effects_table("every model and edge", {"Model", "Edge", "Window"}, rows);
}

std::string gaps_html(const Study& study) {
  std::string text;
  for (const std::string& gap : gaps(study))
    text += fmt::format("<p class=\"weak\">{}</p>\n", html::prose(gap));
  return text;
}

// `questions`: whether the page answers others than those about knockouts at its head.
std::string findings_html(const Study& study, bool questions) {
  std::string notice;
  if (const std::string line = unfinished(study); !line.empty())
    notice = fmt::format("<p class=\"notice\"><strong>{}</strong></p>\n", escape(line));
  if (study.main_effects.empty() && questions) {
    const std::string missing = gaps_html(study);
    if (notice.empty() && missing.empty()) return "";
    return "<section id=\"findings\"><h2>Remarks</h2>\n" + notice + missing + "</section>\n";
  }
  std::string text = "<section id=\"findings\"><h2>Findings</h2>\n" + notice;
  if (study.main_effects.empty())
    return text + "<p>These results hold no knockouts.</p>\n" + gaps_html(study) + "</section>\n";
  text += "<ul class=\"findings\">\n";
  for (const FindingSentence& sentence : finding_sentences(study)) {
    const std::string words = html::prose(sentence.text),
                      name = html::prose("Blocking " + sentence.edge.display());
    const std::size_t skip = words.starts_with(name) ? name.size() : 0;
    text += fmt::format("<li style=\"border-color:{}\"><strong>{}</strong>{}</li>\n",
                        role_style(sentence.edge.source).color, words.substr(0, skip),
                        words.substr(skip));
  }
  text += fmt::format(
      "</ul>\n<p>Knockout: the flow from source to target tokens is blocked in a window of layers "
      "(here {}). "
      "Relative change = 100 (p \u2212 p<sub>clean</sub>) / p<sub>clean</sub> of the answer's "
      "probability, "
      "averaged over prompts. Lowest mean = over all window starts; median and log change (mean of "
      "ln p \u2212 ln p<sub>clean</sub>) are of the same start ({}). {} Gray: no drop that can be "
      "told from zero. Relative depth = {} of the window / layers.</p>\n",
      counted(static_cast<std::size_t>(study.window), "layer"),
      link("tables/findings.csv", "more intervals, clustered by relation where there are ten"),
      escape(correction(study.main_effects)),
      study.main_effects[0].placement == "centred" ? "centre layer" : "first layer");
  return text + findings_table(study) + gaps_html(study) + "</section>\n";
}

std::string claim_html(const Claim& claim) {
  std::string text = fmt::format(
      "<div class=\"claim\"><p>{}: {} ({})</p><p class=\"rule\">{}</p>\n", escape(claim.text),
      verdict_html(claim.verdict), escape(claim.reason), html::prose(claim.rule));
  std::vector<std::vector<std::string>> rows;
  for (const ModelVerdict& model : claim.models)
    rows.push_back({escape(model.model), verdict_html(model.verdict), html::prose(model.reason),
                    html::prose(model.evidence)});
  if (!rows.empty())
    text += "<details><summary>by model</summary>" +
            html::table({"Model", "Verdict", "Reason", "Evidence"}, rows, 4) + "</details>\n";
  return text + "</div>\n";
}

std::string claims_html(const Study& study) {
  const std::vector<const Claim*> claims = claims_to_show(study);
  if (claims.empty()) return "";
  std::string text = "<section id=\"claims\"><h2>Claims of the papers, tested on this run</h2>\n";
  std::string source;
  for (const Claim* claim : claims) {
    if (claim->source != source) text += fmt::format("<h3>{}</h3>\n", escape(claim->source));
    source = claim->source;
    text += claim_html(*claim);
  }
  return text + "</section>\n";
}

std::string parameter_count(std::int64_t parameters) {
  if (parameters >= 1'000'000'000)
    return fmt::format("{:.2f} billion", static_cast<double>(parameters) / 1e9);
  if (parameters >= 1'000'000)
    return fmt::format("{:.0f} million", static_cast<double>(parameters) / 1e6);
  return format_count(static_cast<double>(parameters));
}

std::string model_facts(const ModelData& model, const RunData& run) {
  std::string covered = coverage_in_words(model, run);
  for (const ModelData& intervened : run.interventions)
    if (intervened.info.name == model.info.name) {
      covered += (covered.empty() ? "" : "; ") + coverage_in_words(intervened, run);
      if (intervened.prompt_set != kUnnamedSet)
        covered += fmt::format(" (prompts {})", intervened.prompt_set);
    }
  return fmt::format("{}, {}, {} parameters{}{}.", model.info.family,
                     counted(static_cast<std::size_t>(model.info.layers), "layer"),
                     parameter_count(model.info.parameters), covered.empty() ? "" : "; ", covered);
}

std::string models_html(const Study& study) {
  std::string text = "<section id=\"models\"><h2>Models</h2>\n<ul>\n";
  for (const ModelData& model : study.run.models)
    text += fmt::format("<li><strong>{}</strong>: {}</li>\n", escape(model.info.name),
                        escape(model_facts(model, study.run)));
  text += "</ul>\n";
  for (const std::string& warning : answer_warnings(study))
    text += fmt::format("<p class=\"notice\">{}</p>\n", escape(warning));
  return text + "</section>\n";
}

// The depth where two models differ most on their shared prompts; one row for each pair and edge.
std::vector<const PairedDifference*> largest_differences(const Study& study) {
  std::vector<const PairedDifference*> largest;
  for (const PairedDifference& pair : study.paired) {
    const bool next = largest.empty() || largest.back()->first != pair.first ||
                      largest.back()->second != pair.second || largest.back()->edge != pair.edge;
    if (next)
      largest.push_back(&pair);
    else if (std::abs(pair.difference) > std::abs(largest.back()->difference))
      largest.back() = &pair;
  }
  std::erase_if(largest,
                [](const PairedDifference* pair) { return !parse_edge(pair->edge).whole(); });
  return largest;
}

std::string pairs_html(const Study& study) {
  std::vector<const PairedDifference*> pairs = largest_differences(study);
  if (pairs.empty()) return "";
  std::string note;
  if (pairs.size() > kMostPairs) {
    note = fmt::format("<p>The {} largest of {}.</p>", kMostPairs, pairs.size());
    std::stable_sort(pairs.begin(), pairs.end(),
                     [](const PairedDifference* a, const PairedDifference* b) {
                       return std::abs(a->difference) > std::abs(b->difference);
                     });
    pairs.resize(kMostPairs);
  }
  std::vector<std::vector<std::string>> rows;
  for (const PairedDifference* pair : pairs)
    rows.push_back(
        {escape(pair->first), escape(pair->second), escape(parse_edge(pair->edge).display()),
         html::prose(signed_number(pair->difference, 1)), interval_cell(pair->interval),
         html::prose(signed_number(pair->median, 1)), html::prose(signed_number(pair->log, 2)),
         p_cell(pair->p_holm), fmt::format("{:.2f}", pair->depth), std::to_string(pair->n),
         std::to_string(pair->facts)});
  const auto tests = static_cast<std::size_t>(
      std::count_if(study.paired.begin(), study.paired.end(),
                    [](const PairedDifference& pair) { return !std::isnan(pair.p_value); }));
  return fmt::format(
      "<section id=\"pairs\"><h2>Differences between models</h2>\n<p>On the prompts that both "
      "models were "
      "swept over: "
      "the first model's change less the second's, in percentage points, at the depth where they "
      "differ most, with the median of the differences and the mean difference of the log changes; "
      "t "
      "interval, clustered by fact; p corrected after Holm over {} of paired.csv (every "
      "pair, edge and depth), the interval is not. All depths: "
      "{}.</p>{}<details{}><summary>{}</summary>{}</details></section>\n",
      tests == 1 ? "the one test" : "all " + counted(tests, "test"),
      link("tables/paired.csv", "paired.csv"), note, rows.size() <= kMostOpenRows ? " open" : "",
      counted(rows.size(), "pair and edge", "pairs and edges"),
      html::table({"First", "Second", "Edge", "Difference", "95 % interval", "Median", "Log change",
                   "p", "Relative depth", "Prompts", "Facts"},
                  rows, 3));
}

// "2", "1 to 4"
std::string touched_cell(const EdgeEffect& e) {
  return e.fewest_touched == e.most_touched
             ? std::to_string(e.most_touched)
             : fmt::format("{} to {}", e.fewest_touched, e.most_touched);
}

std::string interventions_table(const Study& study) {
  const std::vector<EdgeEffect>& effects = study.main_interventions;
  const bool sets = std::any_of(effects.begin(), effects.end(), [&](const EdgeEffect& e) {
    return e.prompts != effects[0].prompts;
  });
  std::vector<std::vector<std::string>> rows;
  for (const EdgeEffect& e : effects) {
    rows.push_back({escape(e.model), escape(e.edge.display())});
    if (sets) rows.back().push_back(escape(e.prompts));
    rows.back().insert(rows.back().end(),
                       {std::to_string(e.window), touched_cell(e), std::to_string(e.untouched)});
    add_effect(e, rows.back());
  }
  std::vector<std::string> columns = {"Model", "Row"};
  if (sets) columns.emplace_back("Set of prompts");
  columns.insert(columns.end(), {"Window", "Touched", "Prompts without"});
  return effects_table("every model and row of interventions", std::move(columns), rows);
}

// Filled by the page's programs.
constexpr const char* kInterventionCurves =
    "<h3>Curves</h3>\n<p>Mean relative change with each row applied in a window of layers, over "
    "where the window begins.</p>\n"
    "<div id=\"row-switches\"></div><div id=\"row-panels\" class=\"panels\"></div>\n";
constexpr const char* kInterventionMaps =
    "<h3>Maps of single prompts</h3>\n<p>Of rows that take one token after the other: each line is "
    "one token of the prompt (the subject's in green) that the row is about, each column a window. "
    "Colour: p \u2212 p(clean) of the answer.</p>\n"
    "<div id=\"row-map-switches\"></div><div id=\"row-maps\" class=\"panels\"></div>\n";

bool has_maps(const Study& study) {
  return std::any_of(study.run.models.begin(), study.run.models.end(),
                     [](const ModelData& model) { return !intervention_maps(model).empty(); });
}

std::string interventions_html(const Study& study) {
  if (study.run.interventions.empty() && !has_maps(study)) return "";
  std::string text = "<section id=\"interventions\"><h2>Interventions</h2>\n";
  if (!study.main_interventions.empty())
    text += fmt::format(
        "<p>What the rows of the configuration do to the answer's probability. All interventions "
        "of a row are applied together in a window of layers; lowest mean, median and log change "
        "are what they are of knockouts. Touched: how many (target, source) pairs lose their edge "
        "and how many tokens are written, in one layer of one prompt. A prompt without anything to "
        "touch (none of its tokens has the role that the row names) has no number: that is not "
        "\u201Cno effect\u201D, and it is left out of every mean of the row. Rows have no part in "
        "findings, claims and differences between models. {} Every window size: {}.</p>\n{}{}",
        escape(correction(study.main_interventions)),
        link("tables/intervention_effects.csv", "intervention_effects.csv"),
        interventions_table(study), kInterventionCurves);
  if (has_maps(study)) text += kInterventionMaps;
  return text + "</section>\n";
}

// Filled by the page's programs.
constexpr const char* kFigures =
    "<section id=\"figures\"><h2>Figures</h2>\n"
    "<p>Choose what the panels and lines are; point at a chart for its values and layers. Relative "
    "depth = first (or centre) layer of the window / layers of the model; above it stand the "
    "layers "
    "themselves where all models of a panel have the same number.</p>\n"
    "<noscript><p class=\"notice\">The charts of this page need JavaScript; the same figures are "
    "files, "
    "listed "
    "below.</p></noscript>\n"
    "<div id=\"views\"></div><div id=\"switches\"></div><p id=\"view-note\" class=\"weak\"></p>\n"
    "<div id=\"panels\" class=\"panels\"></div></section>\n"
    "<section id=\"prompts\"><h2>Prompts</h2>\n<div id=\"prompt-filters\"></div>\n"
    "<select id=\"prompt-list\" size=\"8\" aria-label=\"Prompts\"></select>\n<div "
    "id=\"prompt-text\"></div>\n"
    "<div id=\"prompt-curves-box\"><h3>What knockouts do to this prompt</h3>\n"
    "<div id=\"prompt-models\"></div><div id=\"prompt-panels\" class=\"panels\"></div></div>\n"
    "<h3>Token by token</h3>\n<p>Each row is one token of the prompt (the subject's in green) "
    "whose flow to "
    "the last "
    "token (*) is blocked, each column a window: its layer stands below, its relative depth above. "
    "Colour: p \u2212 p(clean) of the answer.</p>\n"
    "<div id=\"map-switches\"></div><div id=\"maps-of-prompt\" class=\"panels\"></div></section>\n";

std::string figure_files_html(const FigureSet& figures) {
  std::vector<std::vector<std::string>> rows;
  for (const Figure& figure : figures.figures) {
    std::vector<std::string> links;
    for (const Plot& plot : figure.plots)
      for (const std::string& file : plot.files()) links.push_back(link("figures/" + file, file));
    const std::string caption = figure.plots[0].stem + ".txt";
    links.push_back(link("figures/" + caption, caption));
    rows.push_back({join(links, "<br>"), escape(figure.caption)});
  }
  const std::string problem = figures.problem.empty() ? ""
                                                      : fmt::format("<p class=\"notice\">{}</p>\n",
                                                                    escape(figures.problem));
  if (rows.empty()) return problem.empty() ? "" : "<h3>Figures</h3>\n" + problem;
  return "<h3>Figures</h3>" + problem +
         "<p>For papers: PDF with embedded fonts, at the width of two columns and "
         "of one "
         "(<code>_column</code>); heat maps once more in colours for all eyes and for grey "
         "(<code>_for_all_eyes</code>). The caption of each is a text file.</p>\n" +
         html::table({"Files", "What"}, rows, 2);
}

std::string failures_html(const Study& study) {
  const auto& failures = study.run.failures;
  if (failures.empty()) return "<h3>Failures</h3><p>None.</p>\n";
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < std::min(failures.size(), kMostFailures); ++i)
    rows.push_back({escape(failures[i].model), escape(failures[i].stage),
                    escape(failures[i].prompt), escape(failures[i].reason)});
  std::string text =
      "<h3>Failures</h3>\n" + html::table({"Model", "Stage", "Prompt", "Reason"}, rows, 4);
  if (failures.size() > kMostFailures)
    text += fmt::format("<p>The first {} of {}; all are in {}.</p>\n", kMostFailures,
                        failures.size(), link("tables/failures.csv", "failures.csv"));
  return text;
}

std::string source_html(const RunSource& source) {
  const RunInfo& info = source.info;
  std::string text = html::facts({
      {"Status", info.complete
                     ? "complete"
                     : fmt::format("{} of {}", info.units_done,
                                   counted(static_cast<std::size_t>(info.units_planned), "unit"))},
      {"Created", info.created},
      {"Computing time", info.elapsed_seconds > 0 ? format_duration(info.elapsed_seconds) : ""},
      {"Selection", info.selection},
      {"Answer's token", info.answer},
      {"Device", fmt::format("{} ({})", info.device, info.host)},
      {"Precision", info.precision},
      {"Dataset", fmt::format("{} ({})", info.dataset_path, info.dataset_format)},
      {"Dataset digest", info.dataset_digest},
      {"Results digest", source.digest},
      {"factflow", info.factflow_version},
      {"libtorch", info.libtorch},
      {"HDF5", source.hdf5_version},
  });
  return text + fmt::format("<details><summary>Configuration</summary><pre>{}</pre></details>\n",
                            escape(info.config));
}

// What the run did before its first number of a model.
std::string self_check_in_words(const ModelInfo& model) {
  if (model.check_runs == 0) return "no";
  return escape(fmt::format("{}, largest difference {:.2g} ({})",
                            counted(static_cast<std::uint64_t>(model.check_runs), "run"),
                            model.check_largest, model.check_of));
}

std::string run_html(const Study& study) {
  std::string text = "<section id=\"run\"><h2>Provenance</h2>\n";
  for (const RunSource& source : study.run.sources)
    text += fmt::format("<h3>{}</h3>\n", escape(source.info.name)) + source_html(source);
  std::vector<std::vector<std::string>> rows;
  for (const ModelData& model : study.run.models)
    rows.push_back({escape(model.info.name), escape(model.info.path),
                    "<code>" + escape(model.info.checkpoint_digest) + "</code>",
                    "<code>" + escape(model.info.tokenizer_digest) + "</code>",
                    self_check_in_words(model.info)});
  text += html::table({"Model", "Checkpoint", "Checkpoint digest", "Tokenizer digest",
                       "Checked against whole forwards"},
                      rows, 5);
  text += failures_html(study);
  return text +
         fmt::format(
             "<details><summary>Licences of the charting library (Apache ECharts)</summary><pre>{}"
             "</pre></details></section>\n",
             escape(kChartLicences));
}

std::string tables_html(const std::vector<TableFile>& tables) {
  std::vector<std::vector<std::string>> rows;
  for (const TableFile& table : tables)
    rows.push_back({fmt::format("<a href=\"tables/{0}\" download>{0}</a>", table.file),
                    escape(table.about), format_count(static_cast<double>(table.rows))});
  return "<h3>Tables</h3>\n" + html::table({"File", "What", "Rows"}, rows, 2);
}

// Nothing of the page may load or send anything: what it shows is in it.
constexpr const char* kPolicy =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n";

std::string export_program() {
  return fmt::format("<script>\n{}</script>\n", kExportProgram);
}

std::string programs(const std::string& json) {
  std::string text = "<script type=\"application/json\" id=\"data\">";
  text += json;
  text += "</script>\n<script>";
  text += kChartLibrary;
  text += "</script>\n<script>\n";
  text += kReportProgram;
  return text + "</script>\n";
}

}  // namespace

std::string make_report(const Study& study, const ReportData& data, const FigureSet& figures,
                        const std::vector<TableFile>& tables) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n{}"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} \u2013 "
      "factflow</title>\n"
      "<style>{}</style></head>\n<body><main>\n",
      kPolicy, escape(study.run.name), kReportStyle);
  const std::vector<BeyondQuestion> questions = beyond_questions(study);
  std::string body = beyond_questions_html(questions, figures);
  body += findings_html(study, !questions.empty());
  body += carriers_html(study);
  body += claims_html(study);
  if (!study.main_effects.empty()) body += kFigures + pairs_html(study);
  const std::string interventions = interventions_html(study);
  body += interventions + paths_html(study) + parts_html(study) + traces_html(study) +
          attributions_html(study) + severings_html(study) + mean_knockouts_html(study) +
          edits_html(study) + linear_relations_html(study) + combined_html(study) +
          baselines_html(study) + surges_html(study) + positions_html(study) +
          whole_answers_html(study) + models_html(study) +
          "<section id=\"files\"><h2>Files</h2>\n" + tables_html(tables) +
          figure_files_html(figures) + "</section>\n";
  for (const std::vector<std::string>& lines : {data.omitted, figures.omitted})
    for (const std::string& line : lines)
      body += fmt::format("<p class=\"notice\">{}</p>\n", escape(line));
  body += run_html(study);
  text += header_html(study) + navigation(body) + body;
  text += fmt::format("<footer>Made by factflow {} from {}.</footer>\n</main>\n",
                      escape(study.run.sources[0].info.factflow_version), escape(study.run.name));
  text += export_program();
  if (!study.main_effects.empty() || !interventions.empty()) text += programs(data.json);
  return text + "</body></html>\n";
}

}  // namespace factflow
