#include "analysis/report.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "analysis/findings.hpp"
#include "analysis/html.hpp"
#include "analysis/palette.hpp"
#include "analysis/report_style.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr std::size_t kMostFailures = 200;
constexpr double kFullWidth = 7;  // inches of a figure that fills the page

std::string link(const std::string& file, const std::string& text) {
  return fmt::format("<a href=\"{}\">{}</a>", escape(file), escape(text));
}

const char* verdict_class(Verdict verdict) {
  if (verdict == Verdict::kHolds) return "holds";
  return verdict == Verdict::kDoesNotHold ? "fails" : "open";
}

std::string verdict_html(Verdict verdict) {
  return fmt::format("<span class=\"verdict {}\">{}</span>", verdict_class(verdict), to_string(verdict));
}

std::string header_html(const Study& study) {
  const RunInfo& info = study.run.info;
  std::vector<std::string> names;
  for (const ModelData& model : study.run.models) names.push_back(model.info.name);
  std::string text =
      fmt::format("<header><h1>Where facts flow: {}</h1>\n<p>{} model{}: {}.</p>\n", escape(info.name),
                  names.size(), names.size() == 1 ? "" : "s", escape(join(names)));
  text += fmt::format("<p>{} prompts of {}, computed {} on {} in {}; factflow {}.</p>\n",
                      study.run.prompts.id.size(), escape(info.dataset_path), escape(info.created),
                      escape(info.device), escape(info.precision), escape(info.factflow_version));
  text +=
      "<nav><a href=\"#findings\">Findings</a><a href=\"#claims\">Claims</a><a href=\"#models\">Across "
      "models</a>"
      "<a href=\"#each\">Each model</a><a href=\"#maps\">Token by token</a><a href=\"#run\">The run</a>"
      "<a href=\"#tables\">Tables</a></nav></header>\n";
  return text;
}

std::string drop_cell(const EdgeEffect& effect) {
  const double width = std::clamp(-effect.drop.value, 0.0, 100.0) * 0.05;
  const bool real = is_real(effect);
  return fmt::format(
      "<span class=\"{}\">{}</span>&ensp;<span class=\"barbox\"><span class=\"bar\" "
      "style=\"width:{:.2f}rem{}\"></span></span>",
      real ? "" : "weak", html::prose(fmt::format("{:+.1f}", effect.drop.value)), width,
      real ? "" : ";opacity:.35");
}

std::string findings_table(const Study& study) {
  std::vector<std::vector<std::string>> rows;
  for (const EdgeEffect& e : study.main_effects) {
    if (e.n == 0) {
      rows.push_back({escape(e.model), escape(e.edge.display()), std::to_string(e.window), "no such edge", "",
                      "", "", "0"});
      continue;
    }
    rows.push_back(
        {escape(e.model), escape(e.edge.display()), std::to_string(e.window), drop_cell(e),
         html::prose(fmt::format("[{:+.1f}, {:+.1f}]", e.drop.by_prompt.low, e.drop.by_prompt.high)),
         fmt::format("{:.0f} of {}", e.start.value, e.layers),
         fmt::format("{:.2f} [{:.2f}, {:.2f}]", e.depth.value, e.depth.by_prompt.low, e.depth.by_prompt.high),
         std::to_string(e.n)});
  }
  return html::table({"Model", "Edge", "Window", "Largest drop (%)", "95 % interval", "at start",
                      "Relative depth", "Prompts"},
                     rows, 2);
}

std::string findings_html(const Study& study) {
  std::string text = "<section id=\"findings\"><h2>Findings</h2>\n";
  if (const std::string line = unfinished(study); !line.empty())
    text += fmt::format("<p class=\"notice\"><strong>{}</strong></p>\n", escape(line));
  if (study.main_effects.empty()) return text + "<p>These results hold no knockouts.</p></section>\n";
  text += "<ul class=\"findings\">\n";
  for (const FindingSentence& sentence : finding_sentences(study)) {
    const std::string words = html::prose(sentence.text), name = html::prose(sentence.edge.display());
    const std::size_t skip = words.starts_with(name) ? name.size() : 0;
    text += fmt::format("<li style=\"border-color:{}\"><strong>{}</strong>{}</li>\n",
                        role_color(sentence.edge.source), words.substr(0, skip), words.substr(skip));
  }
  text += fmt::format(
      "</ul>\n<p>Knockout: the flow from source to target tokens is blocked in a window of layers (here {} "
      "layers). "
      "Change = 100 (p \u2212 p<sub>clean</sub>) / p<sub>clean</sub> of the answer's probability, averaged "
      "over "
      "prompts. Largest drop = the lowest mean over all window starts; its interval is a bootstrap over "
      "prompts ({}). "
      "Gray: not different from zero after Holm's correction over the starts. Relative depth = {} of the "
      "window / "
      "layers.</p>\n",
      study.window, link("tables/findings.csv", "more intervals, also clustered by relation"),
      study.main_effects[0].placement == "centred" ? "centre layer" : "first layer");
  text += findings_table(study);
  for (const std::string& gap : gaps(study))
    text += fmt::format("<p class=\"weak\">{}</p>\n", html::prose(gap));
  return text + "</section>\n";
}

std::string claims_html(const Study& study) {
  std::string text = "<section id=\"claims\"><h2>Claims of the paper, tested on this run</h2>\n";
  for (const Claim& claim : study.claims) {
    text += fmt::format("<div class=\"claim\"><p>{}: {}{}</p><p class=\"rule\">{}</p>\n", escape(claim.text),
                        verdict_html(claim.verdict), claim.models.empty() ? " (not part of this run)" : "",
                        html::prose(claim.rule));
    std::vector<std::vector<std::string>> rows;
    for (const ModelVerdict& model : claim.models)
      rows.push_back({escape(model.model), verdict_html(model.verdict), html::prose(model.evidence)});
    if (!rows.empty())
      text += "<details><summary>by model</summary>" +
              html::table({"Model", "Verdict", "Evidence"}, rows, 3) + "</details>\n";
    text += "</div>\n";
  }
  return text + "</section>\n";
}

// The picture as data: nothing in it can run, and nothing in it clashes with the page.
std::string figure_html(const Figure& figure, const std::filesystem::path& folder) {
  const std::string& stem = figure.plot.stem;
  const bool map = figure.kind == Figure::Kind::kHeatmap;
  const std::string svg = read_file(folder / (stem + ".svg"));
  return fmt::format(
      "<figure><div class=\"{}\"><img style=\"max-width:{:.1f}%\" alt=\"{}\" "
      "src=\"data:image/svg+xml;base64,{}\"></div><figcaption>{} "
      "{} {}</figcaption></figure>\n",
      map ? "map" : "wide", map ? 100 : 100 * figure.plot.width / kFullWidth, escape(figure.caption),
      html::base64(svg), escape(figure.caption), link(fmt::format("figures/{}.pdf", stem), "PDF"),
      link(fmt::format("figures/{}.png", stem), "PNG"));
}

std::string parameter_count(std::int64_t parameters) {
  if (parameters >= 1'000'000'000)
    return fmt::format("{:.2f} billion", static_cast<double>(parameters) / 1e9);
  if (parameters >= 1'000'000) return fmt::format("{:.0f} million", static_cast<double>(parameters) / 1e6);
  return format_count(static_cast<double>(parameters));
}

std::string model_facts(const ModelData& model) {
  const auto& clean = model.evaluation;
  const auto right = std::count(clean.rank.begin(), clean.rank.end(), 1);
  const auto failed = std::count(clean.rank.begin(), clean.rank.end(), 0);
  const auto judged = static_cast<std::ptrdiff_t>(clean.rank.size()) - failed;
  const double accuracy = judged > 0 ? 100.0 * static_cast<double>(right) / static_cast<double>(judged) : 0;
  std::string text = fmt::format("{}, {} layers, {} parameters", model.info.family, model.info.layers,
                                 parameter_count(model.info.parameters));
  if (judged > 0) text += fmt::format("; right on {} of {} prompts ({:.1f} %)", right, judged, accuracy);
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (!model.axes.prompts.empty())
    text += fmt::format("; knockouts on {} selected prompts", model.axes.prompts.size());
  return text + ".";
}

std::string models_html(const Study& study, const FigureSet& figures, const std::filesystem::path& folder) {
  std::string text;
  for (const Figure& figure : figures.figures)
    if (figure.kind == Figure::Kind::kModels)
      text +=
          "<section id=\"models\"><h2>Across models</h2>\n" + figure_html(figure, folder) + "</section>\n";
  text += "<section id=\"each\"><h2>Each model</h2>\n";
  for (const ModelData& model : study.run.models) {
    text += fmt::format("<h3>{}</h3><p>{}</p>\n", escape(model.info.name), escape(model_facts(model)));
    for (const Figure& figure : figures.figures)
      if (figure.model == model.info.name && figure.kind != Figure::Kind::kHeatmap)
        text += figure_html(figure, folder);
  }
  return text + "</section>\n";
}

std::string maps_html(const FigureSet& figures, const std::filesystem::path& folder) {
  std::string maps, prompt;
  for (const Figure& figure : figures.figures) {
    if (figure.kind != Figure::Kind::kHeatmap) continue;
    if (figure.prompt != prompt || maps.empty())
      maps += fmt::format("{}<p class=\"prompt\">{}</p>\n<div class=\"maps\">\n",
                          maps.empty() ? "" : "</div>\n", escape(figure.prompt));
    prompt = figure.prompt;
    maps += figure_html(figure, folder);
  }
  if (maps.empty()) return "";
  return "<section id=\"maps\"><h2>Token by token</h2>\n<p>Each row is one token of the prompt whose flow to "
         "the last "
         "token (*) is blocked, each column a window start. Colour: change of the answer's probability. The "
         "green "
         "bar marks the subject. Gray: not computed.</p>\n" +
         maps + "</div></section>\n";
}

std::string failures_html(const Study& study) {
  const auto& failures = study.run.failures;
  if (failures.empty()) return "<h3>Failures</h3><p>None.</p>\n";
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < std::min(failures.size(), kMostFailures); ++i)
    rows.push_back({escape(failures[i].model), escape(failures[i].stage), escape(failures[i].prompt),
                    escape(failures[i].reason)});
  std::string text = "<h3>Failures</h3>\n" + html::table({"Model", "Stage", "Prompt", "Reason"}, rows, 4);
  if (failures.size() > kMostFailures)
    text += fmt::format("<p>The first {} of {}; all are in {}.</p>\n", kMostFailures, failures.size(),
                        link("tables/failures.csv", "failures.csv"));
  return text;
}

std::string run_html(const Study& study) {
  const RunInfo& info = study.run.info;
  std::set<std::int64_t> sizes;
  std::size_t selected = 0;
  for (const ModelData& model : study.run.models) {
    sizes.insert(model.windows.begin(), model.windows.end());
    selected = std::max(selected, model.axes.prompts.size());
  }
  std::vector<std::string> windows;
  for (const std::int64_t size : sizes) windows.push_back(std::to_string(size));
  std::string text = "<section id=\"run\"><h2>The run</h2>\n";
  text += html::facts({
      {"Status",
       info.complete ? "complete" : fmt::format("{} of {} units", info.units_done, info.units_planned)},
      {"Created", info.created},
      {"Computing time", info.elapsed_seconds > 0 ? format_duration(info.elapsed_seconds) : ""},
      {"Prompts",
       fmt::format("{} in the dataset, up to {} selected per model", study.run.prompts.id.size(), selected)},
      {"Selection", info.selection},
      {"Window sizes", join(windows)},
      {"Device", fmt::format("{} ({})", info.device, info.host)},
      {"Precision", info.precision},
      {"Dataset", fmt::format("{} ({})", info.dataset_path, info.dataset_format)},
      {"Dataset digest", info.dataset_digest},
      {"Results digest", study.run.digest},
      {"factflow", info.factflow_version},
      {"libtorch", info.libtorch},
      {"HDF5", study.run.hdf5_version},
  });
  std::vector<std::vector<std::string>> rows;
  for (const ModelData& model : study.run.models)
    rows.push_back({escape(model.info.name), escape(model.info.path),
                    "<code>" + escape(model.info.checkpoint_digest) + "</code>",
                    "<code>" + escape(model.info.tokenizer_digest) + "</code>"});
  text += html::table({"Model", "Checkpoint", "Checkpoint digest", "Tokenizer digest"}, rows, 4);
  text += failures_html(study);
  text += fmt::format("<details><summary>Configuration</summary><pre>{}</pre></details></section>\n",
                      escape(info.config));
  return text;
}

std::string tables_html(const std::vector<TableFile>& tables) {
  std::vector<std::vector<std::string>> rows;
  for (const TableFile& table : tables)
    rows.push_back({link("tables/" + table.file, table.file), escape(table.about),
                    format_count(static_cast<double>(table.rows))});
  return "<section id=\"tables\"><h2>Tables</h2>\n" + html::table({"File", "What", "Rows"}, rows, 2) +
         "</section>\n";
}

}  // namespace

std::string make_report(const Study& study, const FigureSet& figures,
                        const std::filesystem::path& figure_folder, const std::vector<TableFile>& tables) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{} \u2013 "
      "factflow</title>\n"
      "<style>{}</style></head>\n<body><main>\n",
      escape(study.run.info.name), kReportStyle);
  text += header_html(study) + findings_html(study);
  if (!study.main_effects.empty()) text += claims_html(study);
  text += models_html(study, figures, figure_folder) + maps_html(figures, figure_folder);
  for (const std::string& line : figures.omitted)
    text += fmt::format("<p class=\"notice\">{}</p>\n", escape(line));
  text += run_html(study) + tables_html(tables);
  return text +
         fmt::format("<footer>Made by factflow {} from results.h5 ({}).</footer>\n</main></body></html>\n",
                     escape(study.run.info.factflow_version), escape(study.run.digest));
}

}  // namespace factflow
