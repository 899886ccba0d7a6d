// A weight matrix of a network as the place of an edit: its keys, its values, and the edit applied
// and undone.
#pragma once

#include <span>
#include <vector>

#include <ATen/ATen.h>

#include "model/edit/edit_request.hpp"
#include "model/edit/optimise.hpp"
#include "model/network.hpp"
#include "model/reference/reference_rows.hpp"

namespace factflow {

// Throws InputError for a precision whose weights are rounded or split (bf16, tf32x3): an edit of
// them would be another one.
void check_edit_precision(Precision precision);

// What goes into a matrix and comes out of it, bias included, at tokens of clean runs. float64
// without a graph, whatever the network computes in.
struct SlotValues {
  at::Tensor keys;     // [places, in]
  at::Tensor outputs;  // [places, out]; of W_g the gate before SiLU
};

// Reads the network as it is at each call, edits included. The network must outlive it.
class EditSlot {
 public:
  // Throws as check_edit_precision() does, and std::invalid_argument for a layer or matrix that the
  // network does not have.
  EditSlot(const Network& network, EditedMatrix matrix, int layer);

  SlotValues values(std::span<const PromptToken> places) const;
  at::Tensor keys(const std::vector<PromptToken>& places) const { return values(places).keys; }
  // Where the output is optimised; of a slot that lives as long.
  EditedValue edited() const;
  // What stands at its site for outputs [.., out].
  at::Tensor written(const at::Tensor& outputs) const;
  // What the matrix makes of keys [.., in], bias included; float64.
  at::Tensor applied(const at::Tensor& keys) const;
  // The edited rows and columns, a view [out, in] into the network's weight.
  at::Tensor weight() const;

  const Network& network() const { return network_; }
  int layer() const { return layer_; }
  // Where the keys come from, and what they are there, of values [.., width].
  SiteAt key_site() const { return {place_.matrix.key.value_or(Site::kH), layer_}; }
  at::Tensor keys_of(const at::Tensor& values) const;
  // Whether the other slot's keys are the same as this one's.
  bool shares_keys(const EditSlot& other) const;

 private:
  const Network& network_;
  LayerMatrix place_;
  int layer_;
};

// While it lives, a weight is W + delta, for the reference forward and for the engine alike;
// afterwards it is bit for bit what it was. Several at one matrix end in the opposite order.
class AppliedEdit {
 public:
  // delta [out, in], on any device, of `slot`, a slot of `network`, which no other thread may use
  // meanwhile.
  AppliedEdit(Network& network, const EditSlot& slot, const at::Tensor& delta);
  ~AppliedEdit();
  AppliedEdit(const AppliedEdit&) = delete;
  AppliedEdit& operator=(const AppliedEdit&) = delete;

 private:
  at::Storage weight_, other_;  // the other one's memory is W while this one's is W + delta
};

// The mean over the contexts of the key at the subject's last token, [requests, in] float64.
at::Tensor mean_keys(const EditSlot& slot, std::span<const EditRequest> requests);

// After the prompt, then after its neighbours.
std::vector<PromptOutcome> outcomes(const Network& network, const EditRequest& request);

}  // namespace factflow
