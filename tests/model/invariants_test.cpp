// What must hold of traces, severed paths and knockouts of tokens in any model (the specification's
// 1.6, 2.4 and 5.4; docs/locate.md has the table), for small random ones of every family. The
// numbers are the engine's, states the reference forward's.
#include <algorithm>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "model/locate_interventions.hpp"
#include "model/reference/reference.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

// The same words about subjects of two tokens, 1 and 2.
const std::vector<int> kClean = {3, 11, 7, 19, 2, 23}, kOther = {3, 14, 9, 19, 2, 23};
constexpr int kAnswer = 5, kSubjectLast = 2, kLast = 5;
constexpr double kClose = 1e-10;  // of log p

class Located : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    set_threads(1, 1);
    network_ = random_network(GetParam(), 1, Precision::kFp64);
  }
  int layers() const { return network_->architecture().layers; }
  std::vector<int> all_layers() const {
    std::vector<int> all(static_cast<size_t>(layers()));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  bool has(Site site) const {
    const std::vector<Site> sites = sites_of(network_->architecture().blocks[0]);
    return std::find(sites.begin(), sites.end(), site) != sites.end();
  }
  bool transformer() const { return !has(Site::kY); }
  // All that a layer adds to the stream.
  std::vector<Site> added() const {
    return transformer() ? std::vector{Site::kO, Site::kMlp} : std::vector{Site::kO};
  }

  double log_p(const std::vector<int>& ids, std::vector<Intervention> together = {}) const {
    ReplayRequest request{ids, kAnswer, {}};
    if (!together.empty()) request.series.emplace_back(std::move(together), std::nullopt);
    const ReplayResult result = ReplayEngine(*network_).run({&request, 1})[0];
    return request.series.empty() ? result.clean.log_probability
                                  : result.knockouts.at(0).at(0).log_probability;
  }
  double high() const { return log_p(kClean); }
  double low() const { return log_p(kOther); }
  // log p of the other run with clean values of these sites at a token.
  double restored(const std::vector<Site>& sites, const std::vector<int>& at, int token) const {
    return log_p(kOther, patches(sites, at, token));
  }
  static std::vector<Intervention> patches(const std::vector<Site>& sites,
                                           const std::vector<int>& at, int token) {
    std::vector<Intervention> all;
    for (const Site site : sites) all.emplace_back(patched(site, at, {token}, kClean));
    return all;
  }
  double severed(const std::vector<Site>& sites, int token, int layer,
                 const std::vector<int>& clean = kClean) const {
    return log_p(kOther, interventions_of({sites, token, layer}, layers(), clean, kOther));
  }
  at::Tensor state(const std::vector<int>& ids, SiteAt at,
                   const std::vector<Intervention>& together = {}) const {
    const at::NoGradGuard no_graph;
    return ReferenceForward(*network_).run(ids, together, {&at, 1}).values.at(at);
  }
  static std::vector<double> numbers(const at::Tensor& vector) {
    const at::Tensor dense = vector.contiguous();
    return {dense.data_ptr<double>(), dense.data_ptr<double>() + dense.numel()};
  }

  std::unique_ptr<Network> network_;
};

// 1.6, 2 and 3. That a patch of a run by itself changes nothing (4), and the stream of all tokens
// everything, is in site_engine_test.
TEST_P(Located, TheLastTokensStreamIsTheAnswerAndNoOthersIs) {
  EXPECT_GT(std::abs(high() - low()), 1e-6) << "or nothing is tested";
  EXPECT_NEAR(restored({Site::kH}, {layers()}, kLast), high(), kClose);
  for (int token = 0; token < kLast; ++token)
    EXPECT_NEAR(restored({Site::kH}, {layers()}, token), low(), kClose) << token;
}

// 1.6, 5; and 5.4: states in front of what is knocked out.
TEST_P(Located, NothingInFrontOfAChangeMoves) {
  const SiteAt top{Site::kH, layers()};
  const at::Tensor before = state(kOther, top);
  const auto untouched = [&](const std::vector<Intervention>& together, int tokens,
                             const std::string& what) {
    const at::Tensor after = state(kOther, top, together);
    EXPECT_TRUE(at::equal(before.narrow(0, 0, tokens), after.narrow(0, 0, tokens))) << what;
    EXPECT_FALSE(at::equal(before, after)) << what << " does nothing";
  };
  for (const Site site : sites_of(network_->architecture().blocks[0]))
    if (site != Site::kNorm)
      untouched(patches({site}, {0}, kSubjectLast), kSubjectLast, to_string(site));
  untouched(cut_edges({kOther, {1, kSubjectLast}}, all_layers()), kLast, "edges");
  if (transformer()) return;
  const SiteMeans means{
      Site::kA,
      {static_cast<size_t>(layers()),
       std::vector<double>(static_cast<size_t>(state(kOther, {Site::kA, 0}).size(1)), 0.25)}};
  untouched(mean_knockout({kOther, {kSubjectLast}}, means, {0}), kSubjectLast, "mean-a");
}

// 1.6, 6.
TEST_P(Located, ScanAndGateAreTheOutput) {
  if (transformer()) GTEST_SKIP() << "no gate";
  for (const std::vector<int>& window : {std::vector{0}, {1}, {0, 1}}) {
    const double o = restored({Site::kO}, window, kSubjectLast);
    EXPECT_NEAR(restored({Site::kS, Site::kG}, window, kSubjectLast), o, kClose);
    EXPECT_NEAR(restored({Site::kY}, window, kSubjectLast), o, kClose);
    EXPECT_GT(std::abs(o - low()), 1e-9) << "or nothing is tested";
  }
}

// 1.6, 7: the prompt's last token is the same in both.
TEST_P(Located, AllThatALayerAddsIsAllButTheEmbedding) {
  EXPECT_NEAR(restored(added(), all_layers(), kLast), high(), kClose);
  if (!transformer()) {
    EXPECT_NEAR(restored({Site::kS, Site::kG}, all_layers(), kLast), high(), kClose);
  }
  const SiteAt bottom{Site::kH, 0}, top{Site::kH, layers()};
  const at::Tensor differs = state(kOther, top, patches(added(), all_layers(), kSubjectLast)) -
                             state(kClean, top),
                   embedded = state(kOther, bottom) - state(kClean, bottom);
  EXPECT_LE((differs[kSubjectLast] - embedded[kSubjectLast]).abs().max().item<double>(),
            1e-12 * (1 + state(kClean, top).abs().max().item<double>()));
}

// 1.6, 8: of a Mamba's mixer and of an MLP, after which nothing of the layer comes.
TEST_P(Located, OneLayersPatchIsADifferenceThatIsAdded) {
  const Site site = transformer() ? Site::kMlp : Site::kO;
  for (int layer = 0; layer < layers(); ++layer) {
    const at::Tensor more =
        state(kClean, {site, layer})[kSubjectLast] - state(kOther, {site, layer})[kSubjectLast];
    Write add{Site::kH, {layer + 1}, {kSubjectLast}, std::nullopt, Vector{numbers(more)}};
    add.add = true;
    EXPECT_NEAR(restored({site}, {layer}, kSubjectLast), log_p(kOther, {add}), kClose) << layer;
  }
}

// 2.4.
TEST_P(Located, WhatIsSeveredIsOnlyWhatIsAbove) {
  std::vector<std::vector<Site>> ways = {{Site::kO}, added()};
  if (transformer())
    ways.push_back({Site::kMlp});
  else
    ways.insert(ways.end(), {{Site::kS}, {Site::kG}, {Site::kS, Site::kG}});
  for (const int token : {kSubjectLast, kLast})
    for (int layer = 0; layer <= layers(); ++layer) {
      const double patch = restored({Site::kH}, {layer}, token);
      EXPECT_NEAR(severed({}, token, layer), patch, kClose) << "nothing severed";
      if (!transformer()) {
        EXPECT_NEAR(severed({Site::kS, Site::kG}, token, layer), severed({Site::kO}, token, layer),
                    kClose);
      }
      for (const std::vector<Site>& sites : ways) {
        if (layer == layers()) {
          EXPECT_NEAR(severed(sites, token, layer), patch, kClose) << "nothing is above";
        }
        // In a run of itself everything is as it is.
        EXPECT_NEAR(severed(sites, token, layer, kOther), low(), kClose);
        // Layers below the patch are those of the other run anyway.
        std::vector<Intervention> below = patches({Site::kH}, {layer}, token);
        std::vector<int> under(static_cast<size_t>(layer));
        std::iota(under.begin(), under.end(), 0);
        for (const Site site : sites)
          if (layer > 0) below.emplace_back(patched(site, under, {token}, kOther));
        EXPECT_NEAR(log_p(kOther, below), patch, kClose);
      }
    }
}

// 2.4: h of layer l' is the clean h of layer l, and what the other run adds in between.
TEST_P(Located, WithAllSeveredTheStreamIsTheOthersSum) {
  const int layer = 1, token = kSubjectLast;
  const SiteAt below{Site::kH, layer}, top{Site::kH, layers()};
  const at::Tensor found = state(
      kOther, top, interventions_of({added(), token, layer}, layers(), kClean, kOther))[token];
  const at::Tensor expected =
      state(kClean, below)[token] + state(kOther, top)[token] - state(kOther, below)[token];
  EXPECT_LE((found - expected).abs().max().item<double>(),
            1e-12 * (1 + expected.abs().max().item<double>()));
}

// 5.4: without an edge to the last token its scan gives the skip alone.
TEST_P(Located, WithoutEdgesTheSkipIsLeft) {
  if (transformer()) GTEST_SKIP() << "no skip";
  std::vector<int> all(kClean.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<Intervention> cut = cut_edges({kClean, all}, {1});
  const at::Tensor s = state(kClean, {Site::kS, 1}, cut)[kLast],
                   skip = state(kClean, {Site::kSkip, 1}, cut)[kLast];
  EXPECT_LE((s - skip).abs().max().item<double>(), 1e-12 * (1 + skip.abs().max().item<double>()));
}

INSTANTIATE_TEST_SUITE_P(Families, Located,
                         testing::Values("gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                                         "falcon_mamba", "mamba2"),
                         [](const auto& test) { return test.param; });

// 5.4: through a convolution that passes its input on, a second stream with a = 0 at S is the edge
// cut, of a Mamba-2 exactly: B, C and dt of S stay, and u is 0.
TEST(SecondStream, WithoutAConvolutionIsTheCutOfEdges) {
  set_threads(1, 1);
  const TemporaryDirectory scratch;
  const nlohmann::json config = small_config("mamba2");
  auto tensors = random_tensors(config, 1);
  for (auto& [name, tensor] : tensors) {
    if (name.ends_with("conv1d.bias")) tensor.values.assign(tensor.values.size(), 0);
    if (!name.ends_with("conv1d.weight")) continue;
    const auto taps = static_cast<size_t>(tensor.shape.back());
    for (size_t i = 0; i < tensor.values.size(); ++i) tensor.values[i] = i % taps + 1 == taps;
  }
  write_checkpoint(scratch.path(), config, tensors);
  const auto network =
      Network::load(std::make_shared<const Checkpoint>(Checkpoint::open(scratch.path().string())),
                    at::kCPU, Precision::kFp64);
  ReplayEngine engine(*network);
  const Replayer replay = [&](const std::vector<ReplayRequest>& requests) {
    return engine.run(requests);
  };
  const TokenKnockout knockout{kClean, {1, kSubjectLast}};
  const SiteAt entry{Site::kA, 0};
  const auto width = static_cast<size_t>(
      ReferenceForward(*network).run(kClean, {}, {&entry, 1}).values.at(entry).size(1));
  const SiteMeans zero{
      Site::kA, {static_cast<size_t>(network->architecture().layers), std::vector<double>(width)}};
  std::vector<TwoStreamKnockout> streams = {{knockout, &zero, kAnswer, {1}}};
  take_second_streams(replay, streams);
  ReplayRequest request{kClean, kAnswer, {}};
  request.series.emplace_back(streams[0].together, std::nullopt);
  request.series.emplace_back(cut_edges(knockout, {1}), std::nullopt);
  const ReplayResult result = engine.run({&request, 1})[0];
  EXPECT_NEAR(result.knockouts[0][0].log_probability, result.knockouts[1][0].log_probability,
              kClose);
  EXPECT_GT(std::abs(result.knockouts[0][0].log_probability - result.clean.log_probability), 1e-9);
}

}  // namespace
}  // namespace factflow
