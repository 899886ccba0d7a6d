// Makes a run directory with made-up results and analyses it: for looking at figures and for
// timing. Usage: synthetic_run DIR
// [report|one|partial|own|sets|scripts|hostile|sweep|rows|only_rows|traces|only_traces|edits|
// only_edits|hybrids] [--no-analysis]
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "analysis/analyse.hpp"
#include "tests/analysis/synthetic_results.hpp"

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs(
        "usage: synthetic_run DIR "
        "[report|one|partial|own|sets|scripts|hostile|sweep|rows|only_rows|traces|only_traces|"
        "edits|"
        "only_edits|hybrids] [--no-analysis]\n",
        stderr);
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const std::string kind = argc > 2 ? argv[2] : "report";
  try {
    std::filesystem::create_directories(folder);
    factflow::SyntheticOptions options = kind == "sweep"     ? factflow::synthetic_sweep()
                                         : kind == "hybrids" ? factflow::synthetic_hybrids()
                                                             : factflow::synthetic_report();
    options.complete = kind != "partial";
    options.own_prompts = kind == "own";
    options.named_sets = kind == "sets";
    options.phrasings = kind == "own" ? 4 : 1;
    options.hostile = kind == "hostile";
    options.scripts = kind == "scripts";
    if (options.scripts) options.heatmap_prompts = 8;
    if (options.hostile) {
      options.edges.push_back("<svg onload=alert(3)>->last");
      options.rows = {"<svg onload=alert(4)>->last", "</script><script>alert(5)</script>"};
      options.map_rows = {"<img src=x onerror=alert(6)>", "each `touch` ' \" = zero"};
    }
    if (kind == "one") {
      options.models = {{"mamba-tiny-of-a-rather-long-name", "mamba", 4, 1e6}};
      options.windows = {1, 2};
      options.heatmap_windows = {1, 2};
    }
    if (kind == "rows" || kind == "only_rows" || kind == "partial" || kind == "sets")
      factflow::add_interventions(options);
    options.knockouts = !kind.starts_with("only_");
    if (kind == "traces" || kind == "only_traces" || kind == "partial" || kind == "hostile") {
      factflow::add_traces(options);
      factflow::add_severings(options);
      factflow::add_mean_knockouts(options);
      factflow::add_parts(options);
      factflow::add_attributions(options);
    }
    if (kind == "only_traces") options.trace_windows = {3, 10};
    if (kind == "traces") options.trace_windows = {10};
    if (kind == "edits" || kind == "only_edits" || kind == "partial" || kind == "hostile")
      factflow::add_edits(options);
    if (kind == "only_edits" || kind == "partial" || kind == "hostile")
      factflow::add_relations(options);
    if (kind == "only_edits") {
      options.edit_layers = {3};
      options.edit_sets = true;
    }
    if (kind == "own" || kind == "sets") {
      options.models[0] = {"gpt2-355M", "gpt2", 24, 3.55e8};
      options.models[1] = {"gpt2-1.5B", "gpt2", 48, 1.56e9};
    }
    auto start = std::chrono::steady_clock::now();
    factflow::write_synthetic_results(folder / "results.h5", options);
    std::fprintf(stderr, "written in %.1f s\n", seconds_since(start));
    if (argc > 3) return 0;
    start = std::chrono::steady_clock::now();
    const factflow::AnalysisSummary summary = factflow::analyse(folder);
    std::fputs(summary.findings.c_str(), stdout);
    if (!summary.problem.empty()) throw std::runtime_error(summary.problem);
    std::fprintf(stderr, "analysed in %.1f s: %zu tables, %zu figures\n", seconds_since(start),
                 summary.tables, summary.figures);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
