// Runs the gnuplot program: scripts go in through its standard input, pictures come out as files.
// What it fails at is told, not thrown: an analysis has more to give than figures.
#pragma once

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// A single-quoted gnuplot string, in which nothing is expanded; line breaks and control characters
// are made visible.
std::string gnuplot_quote(std::string_view text);

// No figure is taller: what a page of A4 or letter paper has between its margins. Inches.
inline constexpr double kPageHeight = 9;

// One figure as it should look, whatever the format.
struct Plot {
  std::vector<std::string> formats = {"svg", "pdf", "png"};
  std::string stem;  // file name without extension: letters, digits, '.', '_', '-'
  double width = 7;  // inches
  double height = 3;
  std::string title;               // what stands above all panels
  std::vector<std::string> notes;  // what a reader of the picture has to know, in sentences
  std::string data;                // data blocks, defined once
  std::string script;              // drawing commands; the terminal and the output are already set

  std::vector<std::string> files() const;  // STEM.svg, ...
};

struct Drawing {
  std::set<std::string> files;  // of the plots' files(), those that are there and whole
  std::string problem;          // why others are not, for a message; "" if all are
};

// Draws every plot in each of its formats in `folder`, with at most `processes` gnuplot processes
// at a time: as much as can be drawn, whatever is missing or fails. Nothing of the user's
// environment (GNUTERM) or of his files has a say.
// `patience`: with a process for its share of the plots, and a tenth of it with the question what
// it can draw.
Drawing draw(const std::vector<Plot>& plots, const std::filesystem::path& folder, int processes,
             std::chrono::milliseconds patience = std::chrono::seconds(200));

}  // namespace factflow
