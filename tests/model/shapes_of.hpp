// The sizes of an architecture's mixers, where the test knows what they are.
#pragma once

#include <vector>

#include "model/architecture.hpp"
#include "model/mixers/attention/attention_shape.hpp"
#include "model/mixers/mamba/mamba_shape.hpp"
#include "model/mixers/mamba2/mamba2_shape.hpp"
#include "model/mixers/mlp/mlp_shape.hpp"

namespace factflow {

inline const AttentionShape& attention_of(const Architecture& architecture, int layer = 0) {
  return architecture.mixer<AttentionShape>(layer);
}

// Of a layer that has attention before it.
inline const MlpShape& mlp_of(const Architecture& architecture) {
  return architecture.mixer<MlpShape>(0, 1);
}

// Of attention, one number per layer.
inline std::vector<int> sliding_windows_of(const Architecture& architecture) {
  std::vector<int> windows;
  for (int layer = 0; layer < architecture.layers; ++layer)
    windows.push_back(attention_of(architecture, layer).sliding_window);
  return windows;
}

inline const MambaShape& mamba_of(const Architecture& architecture) {
  return architecture.mixer<MambaShape>(0);
}

inline const Mamba2Shape& mamba2_of(const Architecture& architecture) {
  return architecture.mixer<Mamba2Shape>(0);
}

}  // namespace factflow
