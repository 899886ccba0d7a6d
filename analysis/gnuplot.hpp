// Runs the gnuplot program: scripts go in through its standard input, pictures come out as files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

// A single-quoted gnuplot string, in which nothing is expanded; line breaks and control characters
// are made visible.
std::string gnuplot_quote(std::string_view text);

// One figure as it should look, whatever the format.
struct Plot {
  std::vector<std::string> formats = {"svg", "pdf", "png"};
  std::string stem;  // file name without extension: letters, digits, '.', '_', '-'
  double width = 7;  // inches
  double height = 3;
  std::string data;    // data blocks, defined once
  std::string script;  // drawing commands; the terminal and the output are already set

  std::vector<std::string> files() const;  // STEM.svg, ...
};

// Draws every plot in each of its formats in `folder`, with at most `processes` gnuplot processes
// at a time. Throws RunError if gnuplot is not installed, fails, or leaves a picture out.
void draw(const std::vector<Plot>& plots, const std::filesystem::path& folder, int processes);

}  // namespace factflow
