#pragma once

#include <pybind11/pybind11.h>

namespace plugin_bridge {

void bind_audio(pybind11::module_& module);

}  // namespace plugin_bridge
