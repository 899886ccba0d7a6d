// What interventions are to the kernels: values written and read at sites, and edges left out where
// the mixing kernels cannot (model/intervention.hpp has them as the user means them).
//
// The mixing kernels know one cut per row, which is what sweeps are made of. Everything else is
// done for some columns after they have done all: their result is computed once more without the
// edges, or with other values. So what has no interventions of this kind costs nothing.
#pragma once

#include <cstdint>

#include "model/kernels/kernels.hpp"

namespace factflow::kernels {

// A new value in layers [layer_begin, layer_end).
struct SiteWrite {
  enum Kind : std::int32_t { kZero, kVector, kColumn, kMean };
  std::int32_t layer_begin, layer_end;
  Kind kind;
  // kVector: its first number in SiteArgs::constants; kColumn: the column; kMean: the row of means.
  std::int32_t source;
  std::int32_t channels;  // the first in SiteArgs::channels; -1: all
  std::int32_t count;     // how many are listed
  std::int32_t add;       // 0: instead of what is there; 1: `scale` times to it
  double scale;
};

// A column and what is written there, in this order: SiteArgs::writes[begin, end).
struct SiteTarget {
  std::int32_t column;
  std::int32_t begin, end;
};

// The mean over SiteMeanArgs::columns[begin, end).
struct SiteMean {
  std::int32_t begin, end;
};

// A site's matrix [columns, width]. The true value is what is stored plus `offset`.
template <class T>
struct SiteValue {
  Factor<T> stored;
  const Wide<T>* offset = nullptr;  // [width] or null
  std::int64_t width = 0;
};

// Columns that are not alive yet are left alone.
template <class T>
struct SiteArgs {
  SiteValue<T> value;
  const SiteTarget* targets = nullptr;
  const SiteWrite* writes = nullptr;
  const std::int32_t* channels = nullptr;
  const Wide<T>* constants = nullptr;
  const Wide<T>* means = nullptr;  // [means, width], of what is stored
  std::int32_t target_count = 0;
};

// out[i] = the true value of column columns[i].
template <class T>
struct SiteReadArgs {
  SiteValue<T> value;
  const std::int32_t* columns = nullptr;
  Wide<T>* out = nullptr;  // [count, width]
  std::int32_t count = 0;
};

// out[i] = the mean of what is stored in the columns of means[i].
template <class T>
struct SiteMeanArgs {
  SiteValue<T> value;
  const SiteMean* means = nullptr;
  const std::int32_t* columns = nullptr;
  Wide<T>* out = nullptr;  // [count, width]
  std::int32_t count = 0;
};

// Mamba-1's scan multiplies what it reads by SiLU of the gate at once. Where somebody wants to know
// or to change something between the two, the gate is put where its SiLU is itself, to the last bit
// of every number type, and a power of two: what the scan then gives is its output `s`, times that.
inline constexpr float kOpenGate = 64;

// All of some columns: [count] of matrices [columns, width].
template <class T>
struct GateArgs {
  const std::int64_t* columns = nullptr;
  std::int32_t count = 0;
  std::int64_t width = 0;
  Matrix<Wide<T>> g;  // SiLU of the gate
  Matrix<Wide<T>> s;  // output of the scan
};

// In layers [layer_begin, layer_end) the edges from the tokens with kSource among Rows::flags
// [sources, sources + tokens) are cut on the channels, heads or taps of a mask.
struct CutTerm {
  std::int32_t layer_begin, layer_end;
  std::int32_t sources;  // kWithoutSkip: no edges; the value is wanted without D x
  std::int32_t mask;     // row of CutArgs::masks
};
inline constexpr std::int32_t kWithoutSkip = -1;

// A column that loses edges: of CutArgs::terms[begin, end) all that are on in the layer.
struct CutTarget {
  std::int32_t column;
  std::int32_t begin, end;
};

struct CutArgs {
  const CutTarget* targets = nullptr;
  const CutTerm* terms = nullptr;
  const std::uint8_t* masks = nullptr;  // [masks, mask_width] 1 where an edge is lost
  std::int64_t mask_width = 0;
  std::int32_t target_count = 0;
};

// Written or read at a site: numbers of type T, or T's parts.
template <class T>
struct SiteKernels {
  void (*write)(const Rows&, const SiteArgs<T>&);
  void (*read)(const Rows&, const SiteReadArgs<T>&);
  void (*mean)(const Rows&, const SiteMeanArgs<T>&);
};

// The columns of CutArgs once more, each without the edges that it loses; blocked edges are
// counted. Columns that lose none in this layer stay.
template <class T>
struct CutKernels {
  void (*conv)(const Rows&, const ConvArgs<T>&, const CutArgs&);
  void (*scan)(const Rows&, const ScanArgs<T>&, const CutArgs&);
  void (*dual)(const Rows&, const DualArgs<T>&, const CutArgs&);
  void (*attention)(const Rows&, const AttentionArgs<T>&, const CutArgs&);
};

// The scan's gate apart from the scan, for some columns.
template <class T>
struct GateKernels {
  // Before the scan: g = silu(z), z = kOpenGate.
  void (*open)(const Rows&, const GateArgs<T>&, const Matrix<T>& z);
  // After it: s = out / kOpenGate.
  void (*take)(const Rows&, const GateArgs<T>&, const Factor<T>& out);
  // In the end: out = s g.
  void (*close)(const Rows&, const GateArgs<T>&, const Factor<T>& out);
};

template <class T>
struct InterventionTable {
  GateKernels<T> gate;
  SiteKernels<T> site;
  SiteKernels<Head<T>> final_site;  // of what the head multiplies
  CutKernels<T> cut;
};

template <class T>
const InterventionTable<T>& cpu_interventions();
template <class T>
const InterventionTable<T>& cuda_interventions();

}  // namespace factflow::kernels
