// The float64 oracle's answers about locating and editing facts (tests/oracle/README.md, "Locate
// and edit"), as plain data. What they mean: docs/locate.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/edit/edit_request.hpp"
#include "model/editable_matrix.hpp"
#include "model/intervention.hpp"

namespace factflow {

// Layers of `h` are 0 .. L, of all other sites 0 .. L - 1.
struct LocateCases {
  struct Fact {
    std::vector<int> clean, corrupted;       // of the same length
    int subject_begin = 0, subject_end = 0;  // [begin, end)
    int answer = 0;
    double high = 0, low = 0;  // p(answer) given clean, given corrupted
  };

  // p[token][i] = p(answer) with `site` at the token written in the window around layers[i].
  struct TraceMap {
    Site site = Site::kH;
    int window = 1;
    std::vector<int> layers;
    std::vector<std::vector<double>> p;
  };
  enum class Direction {
    kRestore,  // clean values into the corrupted run
    kBreak     // corrupted values into the clean run
  };
  struct Trace {
    size_t fact = 0;
    std::string corruption;  // "alt": the fact's own corrupted prompt
    Direction direction = Direction::kRestore;
    TraceMap map;
  };
  // Corrupted: the clean prompt with noise[copy][j] added to h at layer 0, token begin + j. Means
  // over the copies; the maps restore.
  struct NoiseTrace {
    size_t fact = 0;
    double sigma = 0;
    std::vector<std::vector<std::vector<double>>> noise;  // [copies][subject tokens][hidden]
    double high = 0, low = 0;
    std::vector<TraceMap> maps;
  };
  // p[i] of the corrupted run with clean h at (token, layers[i]), and the severed site at the token
  // as in the corrupted run, in every layer.
  struct Path {
    size_t fact = 0;
    std::string at;  // "subject_last" or "prompt_last", which `token` is
    int token = 0;
    std::optional<Site> severed;  // absent: none
    std::vector<int> layers;
    std::vector<double> p;
  };
  // p[l] of the clean prompt, changed in the window around l.
  struct Knockout {
    enum class Mode {
      kEdges,     // positions -> last token blocked through the state
      kMean,      // `site` is the mean at the positions, the clean value elsewhere before the last
      kTwoStream  // the last token's s is that of a second scan with the mean at the positions
    };
    size_t fact = 0;
    Mode mode = Mode::kEdges;
    Site site = Site::kA;  // of the means
    std::string set;       // what the positions are
    std::vector<int> positions;
    int window = 1;
    std::vector<double> p;
  };

  struct Outcome {
    double target = 0, answer = 0;  // probabilities
    double target_nll = 0;
  };
  struct Edit {
    EditRequest request;
    EditedMatrix matrix = EditedMatrix::kWo;
    int layer = 0;
    std::optional<double> shrinkage;  // absent: C' = I
    EditSettings settings;
    int adam_steps = 0;
    std::vector<double> k0, k_bar, c0, v0, first_gradient, v_star, u, r;
    std::vector<EditStep> trace;
    double delta_norm = 0;
    std::vector<Outcome> before, after;
  };
  struct Memit {
    struct Step {
      std::vector<std::vector<double>> keys, adj_k, resid;
      double delta_norm = 0;
    };
    EditedMatrix matrix = EditedMatrix::kWo;
    std::vector<int> layers;
    double shrinkage = 0, weight = 0;
    EditSettings settings;
    std::vector<EditRequest> facts;
    std::vector<std::vector<double>> z;
    std::vector<std::vector<EditStep>> traces;
    std::vector<Step> steps;
    std::vector<std::vector<Outcome>> before, after;
  };

  // A matrix by its first 8 x 8 entries, Frobenius norm and product with (1, 2, .., m) / m.
  struct MatrixDigest {
    std::vector<int> shape;
    std::vector<std::vector<double>> corner;
    double norm = 0;
    std::vector<double> times_ramp;
  };
  struct Lre {
    struct Prompt {
      std::vector<int> ids;
      int subject_last = 0;
      int answer = 0;  // of a test prompt
    };
    struct Causality {
      int rank = 0;
      size_t source = 0, target = 0;  // of the test prompts
      int top = 0;
      double p_target = 0;
      bool success = false;
    };
    int layer = 0;
    std::vector<Prompt> train, test;
    std::vector<MatrixDigest> j;
    std::vector<std::vector<double>> z, s;
    MatrixDigest w;
    std::vector<double> b, singular_values, betas;
    std::vector<std::vector<int>> predicted;  // [betas][test]
    double smallest_logit_gap = 0;
    std::vector<double> faithfulness;  // per beta
    std::vector<Causality> causality;
  };

  struct Attribution {
    size_t fact = 0;
    Site site = Site::kH;
    std::vector<int> layers;
    std::vector<std::vector<double>> gradient;  // [tokens][layers]
    std::optional<std::vector<std::vector<double>>> integrated;
  };

  std::string family;
  int layers = 0;
  std::vector<Fact> facts;
  std::vector<std::vector<int>> runs;
  std::vector<Trace> traces;
  std::vector<NoiseTrace> noise;
  std::vector<Path> paths;
  int mean_runs = 0;                                       // how many of the runs the means are of
  std::map<Site, std::vector<std::vector<double>>> means;  // [layers][width]
  std::vector<Knockout> knockouts;
  std::vector<Edit> edits;
  Memit memit;
  std::vector<Lre> lre;
  std::vector<Attribution> attributions;
};

// Whether a file of answers is of this kind, by its keys. Throws InputError for what is no JSON.
bool holds_locate_cases(const std::filesystem::path& path);

// Reads a locate_cases.json. Throws InputError naming the file, and where in it something is wrong:
// keys and words that are not known, what is missing, tokens outside `vocabulary`, indices, tokens
// and lists that do not fit one another, another number of layers than `layers`.
LocateCases read_locate_cases(const std::filesystem::path& path, int vocabulary, int layers);

// Layers max(0, layer - floor(width / 2)) .. min(count, layer + ceil(width / 2)) - 1.
std::vector<int> centred_window(int layer, int width, int count);

}  // namespace factflow
