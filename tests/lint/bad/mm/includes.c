/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: includes */
#include "hv/vcpu.h"
