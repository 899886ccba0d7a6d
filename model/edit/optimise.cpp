#include "model/edit/optimise.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace factflow {
namespace {

// A prompt of the loss, with the value that the delta is added to.
struct Row {
  std::vector<int> ids;
  int token = 0;           // where the delta is added
  at::Tensor value;        // [width] of the clean run there
  std::int64_t first = 0;  // where the target's first token is predicted
};

// Adam (Kingma & Ba 2015, algorithm 1).
class Adam {
 public:
  Adam(const at::Tensor& like, double lr)
      : lr_(lr), mean_(at::zeros_like(like)), square_(at::zeros_like(like)) {}

  at::Tensor step(const at::Tensor& gradient) {
    constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
    ++steps_;
    mean_ = kBeta1 * mean_ + (1 - kBeta1) * gradient;
    square_ = kBeta2 * square_ + (1 - kBeta2) * gradient.square();
    const at::Tensor mean = mean_ / (1 - std::pow(kBeta1, steps_)),
                     square = square_ / (1 - std::pow(kBeta2, steps_));
    return -lr_ * mean / (square.sqrt() + kEpsilon);
  }

 private:
  double lr_;
  at::Tensor mean_, square_;
  int steps_ = 0;
};

void check(const EditRequest& request) {
  const auto inside = [](int token, const std::vector<int>& ids) {
    return token >= 0 && token < static_cast<int>(ids.size());
  };
  if (request.contexts.empty()) throw std::invalid_argument("an edit without contexts");
  if (request.target.empty()) throw std::invalid_argument("an edit without a target");
  if (!inside(request.subject_last, request.prompt) ||
      !inside(request.essence_subject_last, request.essence))
    throw std::invalid_argument("the subject's last token is outside its prompt");
}

class Search {
 public:
  Search(const ReferenceForward& reference, const EditRequest& request, const EditedValue& edited,
         const EditSettings& settings)
      : reference_(reference), request_(request), edited_(edited), settings_(settings) {
    for (const std::vector<int>& context : request.contexts) {
      Row row{joined(joined(context, request.prompt), all_but_last(request.target)),
              place_after(context, request.subject_last),
              {},
              static_cast<std::int64_t>(context.size() + request.prompt.size()) - 1};
      row.value = edited.clean(row.ids)[row.token];
      rows_.push_back(std::move(row));
    }
    essence_ = {request.essence, request.essence_subject_last, {}};
    essence_.value = edited.clean(essence_.ids)[essence_.token];
    start_norm_ = start().norm().item<double>();
  }

  OptimisedValue run() {
    const at::AutoGradMode graph(true);
    OptimisedValue found{start(), at::zeros_like(start()), {}, {}};
    Adam adam(found.delta, settings_.lr);
    for (int step = 0;; ++step) {
      const at::Tensor delta = found.delta.detach().clone().requires_grad_(true);
      const at::Tensor loss = evaluate(delta, found.trace);
      if (stops(step, found.trace.back())) return found;
      const at::Tensor gradient = torch::autograd::grad({loss}, {delta})[0];
      if (!found.first_gradient.defined()) found.first_gradient = gradient;
      found.delta = clamped(found.delta + adam.step(gradient));
    }
  }

 private:
  const at::Tensor& start() const { return rows_.front().value; }

  at::Tensor logits(const Row& row, const at::Tensor& delta) const {
    const TensorWrite writes[] = {edited_.write(row.token, row.value + delta)};
    return reference_.run(row.ids, {}, {}, writes).logits;
  }

  // The loss, with its parts at the end of the trace.
  at::Tensor evaluate(const at::Tensor& delta, std::vector<EditStep>& trace) {
    std::vector<at::Tensor> all;
    for (const Row& row : rows_)
      all.push_back(target_nll(logits(row, delta), row.first, request_.target));
    const at::Tensor nll = at::stack(all);
    const at::Tensor now = logits(essence_, delta)[essence_.token].log_softmax(0);
    if (!unedited_.defined()) unedited_ = now.detach();
    const at::Tensor kl = settings_.kl_factor * (now.exp() * (now - unedited_)).sum();
    // libtorch's gradient of a norm at 0 is 0, which is what the definition wants.
    const at::Tensor decay = settings_.weight_decay * delta.norm() / (start_norm_ * start_norm_);
    const at::Tensor loss = nll.mean() + kl + decay;
    const auto number = [](const at::Tensor& scalar) { return scalar.item<double>(); };
    trace.push_back({number(loss), number(nll.mean()), number(kl), number(decay),
                     number((-nll).exp().mean()), number(delta.norm())});
    return loss;
  }

  bool stops(int step, const EditStep& at) const {
    return at.loss < settings_.stop_loss || step >= settings_.iterations - 1 ||
           (settings_.stop_prob && step > settings_.stop_prob_after.value_or(-1) &&
            at.mean_prob > *settings_.stop_prob);
  }

  at::Tensor clamped(const at::Tensor& delta) const {
    const double norm = delta.norm().item<double>(), limit = settings_.clamp_factor * start_norm_;
    return norm > limit ? delta * (limit / norm) : delta;
  }

  const ReferenceForward& reference_;
  const EditRequest& request_;
  const EditedValue& edited_;
  const EditSettings& settings_;
  std::vector<Row> rows_;
  Row essence_;
  double start_norm_ = 0;
  at::Tensor unedited_;  // log p [vocabulary] of the essence prompt at delta = 0
};

}  // namespace

OptimisedValue optimise(const ReferenceForward& reference, const EditRequest& request,
                        const EditedValue& edited, const EditSettings& settings) {
  check(request);
  return Search(reference, request, edited, settings).run();
}

at::Tensor target_nll(const at::Tensor& logits, std::int64_t first,
                      const std::vector<int>& target) {
  const auto count = static_cast<std::int64_t>(target.size());
  const at::Tensor tokens = at::tensor(target, at::kLong).to(logits.device()).unsqueeze(1);
  return -logits.narrow(0, first, count).log_softmax(1).gather(1, tokens).mean();
}

std::vector<int> joined(std::vector<int> ids, const std::vector<int>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

std::vector<int> all_but_last(std::vector<int> ids) {
  ids.pop_back();
  return ids;
}

int place_after(const std::vector<int>& context, int token) {
  return static_cast<int>(context.size()) + token;
}

}  // namespace factflow
