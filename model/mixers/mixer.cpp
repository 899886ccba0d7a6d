#include "model/mixers/mixer.hpp"

#include <stdexcept>

namespace factflow {

at::Tensor Mixer::losing_state(const Block&, at::Device) const {
  throw std::logic_error(shape().name() + " mixes no tokens");
}

EditableMatrix Mixer::whole_output(EditedMatrix name, Site key, Site value) const {
  return {.name = name,
          .projection = &output_.weight,
          .bias = output_.bias,
          .rows = output_.weight.outputs(),
          .columns = output_.weight.inputs(),
          .key = key,
          .value = value};
}

at::Tensor Mixer::losing_taps(const Block&, at::Device) const {
  throw std::logic_error(shape().name() + " has no convolution");
}

}  // namespace factflow
