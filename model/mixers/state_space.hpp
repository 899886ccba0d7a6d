// What the mixers with a state have in common.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "model/intervention.hpp"
#include "model/ops.hpp"

namespace factflow {

// conv1d.weight [channels, 1, kernel] -> [kernel, channels] with row k for the token k positions
// back.
at::Tensor causal_taps(const at::Tensor& weight);

// ||exp(-exp(A_log))||_1 over the states of each channel, or exp(-exp(A_log)) of each head, in
// float64.
std::vector<double> decay_norms_of(const at::Tensor& a_log);

// What is read and written at the sites skip and s, at some columns, int64. s [all columns, inner],
// wide: the output of a scan or of its dual form, but for D x where step.without_skip() has a
// column, which is added. d [inner]; x [all columns, inner] as the scan sees it.
void write_scan(Step& step, const at::Tensor& columns, at::Tensor s, const Factor& x,
                const at::Tensor& d);

// [channels] bool, true for those of a set, which are chosen by their decay. For the reference
// forward.
at::Tensor losing_by_decay(const ChannelSet& set, const std::vector<double>& decay_norms,
                           at::Device device);

}  // namespace factflow
