#include "experiments/lre/relation_fit.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/reference/reference_rows.hpp"

namespace factflow {
namespace {

struct Slopes {
  std::vector<at::Tensor> j, s;  // [layer] [d, d], [d]
  at::Tensor z;                  // [d]
};

void check(const Network& network, const RelationPrompt& prompt, const std::vector<int>& layers) {
  if (prompt.subject_last < 0 || prompt.subject_last >= static_cast<int>(prompt.ids.size()))
    throw std::invalid_argument("the subject's last token is outside its prompt");
  for (const int layer : layers)
    if (layer < 0 || layer > network.architecture().layers)
      throw std::invalid_argument("a layer that the network does not have");
}

// dz/ds of every layer: with respect to the streams at the subject's last token, whichever way from
// there. The prompt stands in many rows, and each row goes back from another component of z.
Slopes slopes_of(const Network& network, const RelationPrompt& prompt,
                 const std::vector<int>& layers) {
  check(network, prompt, layers);
  const auto tokens = static_cast<std::int64_t>(prompt.ids.size());
  const std::int64_t width = network.architecture().hidden,
                     rows = std::clamp<std::int64_t>(kTokensAtOnce / tokens, 1, width);
  const int first = *std::min_element(layers.begin(), layers.end());
  const ReferenceRows reference(network);
  ReferenceStream entering;
  {
    const at::NoGradGuard no_graph;
    const ReferenceStream one = reference.through(reference.embedded({prompt.ids}), 0, first);
    const auto repeated = [&](const at::Tensor& stream) {
      return stream.defined() ? stream.expand({rows, tokens, width}).contiguous() : stream;
    };
    entering = {repeated(one.h), repeated(one.carried)};
  }
  entering.h.requires_grad_(true);
  const at::AutoGradMode graph(true);
  std::map<int, at::Tensor> stream_of;
  const at::Tensor top = reference
                             .through(entering, first, network.architecture().layers,
                                      [&](SiteAt at, const at::Tensor& value) {
                                        if (at.site == Site::kH) stream_of[at.layer] = value;
                                      })
                             .h;
  Slopes slopes;
  slopes.z = top.detach()[0][tokens - 1];
  std::vector<at::Tensor> streams;
  for (const int layer : layers) {
    streams.push_back(stream_of.at(layer));
    slopes.s.push_back(streams.back().detach()[0][prompt.subject_last]);
    slopes.j.push_back(at::empty({width, width}, slopes.z.options()));
  }
  for (std::int64_t begin = 0; begin < width; begin += rows) {
    const std::int64_t count = std::min(rows, width - begin);
    const at::Tensor components =
        top.select(1, tokens - 1).narrow(0, 0, count).narrow(1, begin, count).diagonal();
    const auto gradients =
        torch::autograd::grad({components.sum()}, streams, {}, /*retain_graph=*/true);
    const at::NoGradGuard no_graph;
    for (std::size_t k = 0; k < streams.size(); ++k)
      slopes.j[k]
          .narrow(0, begin, count)
          .copy_(gradients[k].select(1, prompt.subject_last).narrow(0, 0, count));
  }
  return slopes;
}

}  // namespace

std::vector<RelationFit> fit_relation_at(const Network& network,
                                         const std::vector<RelationPrompt>& prompts,
                                         const std::vector<int>& layers) {
  if (prompts.empty() || layers.empty())
    throw std::invalid_argument("a relation without prompts or layers");
  std::vector<RelationFit> fits(layers.size());
  const double share = 1.0 / static_cast<double>(prompts.size());
  for (const RelationPrompt& prompt : prompts) {
    const Slopes slopes = slopes_of(network, prompt, layers);
    for (std::size_t k = 0; k < layers.size(); ++k) {
      const at::Tensor w = share * slopes.j[k],
                       b = share * (slopes.z - slopes.j[k].mv(slopes.s[k]));
      fits[k].w = fits[k].w.defined() ? fits[k].w + w : w;
      fits[k].b = fits[k].b.defined() ? fits[k].b + b : b;
    }
  }
  return fits;
}

LowRankInverses::LowRankInverses(const at::Tensor& w) {
  const std::int64_t there = singular_values(w).count_nonzero().item<std::int64_t>();
  const auto [u, values, vh] = at::linalg_svd(w);
  u_ = u.narrow(1, 0, there);
  values_ = values.narrow(0, 0, there);
  vh_ = vh.narrow(0, 0, there);
}

at::Tensor LowRankInverses::applied(const at::Tensor& vectors, int rank) const {
  const std::int64_t kept = std::min<std::int64_t>(rank, values_.size(0));
  return (vectors.matmul(u_.narrow(1, 0, kept)) / values_.narrow(0, 0, kept))
      .matmul(vh_.narrow(0, 0, kept));
}

}  // namespace factflow
