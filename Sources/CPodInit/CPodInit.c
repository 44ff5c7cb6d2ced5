#include "CPodInit.h"
