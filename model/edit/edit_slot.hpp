// A weight matrix of a network as the place of an edit: its keys, its values, and the edit applied
// and undone.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/network.hpp"
#include "model/reference/reference.hpp"

namespace factflow {

// Reads the network as it is at each call, edits included. The network must outlive it.
class EditSlot {
 public:
  // Throws InputError for a network that is not in fp64, std::invalid_argument for a layer or
  // matrix that it does not have.
  EditSlot(const Network& network, EditedMatrix matrix, int layer);

  // Of a clean run, float64 without a graph: the matrix's input [tokens, in], and its output
  // [tokens, out], bias included. The output of W_g is the gate before SiLU.
  at::Tensor keys(const std::vector<int>& ids) const;
  at::Tensor outputs(const std::vector<int>& ids) const;
  // Writes an output [out] at a token.
  TensorWrite write(int token, const at::Tensor& output) const;
  // What the matrix makes of keys [.., in], bias included.
  at::Tensor applied(const at::Tensor& keys) const;
  // The edited rows and columns, a view [out, in] into the network's weight.
  at::Tensor weight() const;
  int layer() const { return layer_; }

 private:
  at::Tensor value_at(const std::vector<int>& ids, Site site) const;

  const Network& network_;
  ReferenceForward reference_;
  LayerMatrix place_;
  int layer_;
};

// While it lives, a weight is W + delta, for the reference forward and for the engine alike;
// afterwards it is bit for bit what it was. Several at one matrix end in the opposite order.
class AppliedEdit {
 public:
  // delta [out, in] of `slot`, a slot of `network`, which no other thread may use meanwhile.
  AppliedEdit(Network& network, const EditSlot& slot, const at::Tensor& delta);
  ~AppliedEdit();
  AppliedEdit(const AppliedEdit&) = delete;
  AppliedEdit& operator=(const AppliedEdit&) = delete;

 private:
  at::Tensor weight_, kept_;
};

// (1 - shrinkage) C + shrinkage (tr C / n) I, [in, in], with C the mean over all tokens of all runs
// of k k^T, uncentred. Meng et al. 2022, section 3.1; the shrinkage is for runs with few tokens.
at::Tensor key_covariance(const EditSlot& slot, const std::vector<std::vector<int>>& runs,
                          double shrinkage);

// The mean over the contexts of the key at the subject's last token, [in].
at::Tensor mean_key(const EditSlot& slot, const EditRequest& request);

// After the prompt, then after its neighbours.
std::vector<PromptOutcome> outcomes(const Network& network, const EditRequest& request);

}  // namespace factflow
