#include "model/mixers/mixer.hpp"

#include <stdexcept>

namespace factflow {

at::Tensor Mixer::losing_state(const Block&, at::Device) const {
  throw std::logic_error(shape().name() + " mixes no tokens");
}

at::Tensor Mixer::losing_taps(const Block&, at::Device) const {
  throw std::logic_error(shape().name() + " has no convolution");
}

}  // namespace factflow
