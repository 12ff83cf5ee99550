"""An OS image of dstack, measured from its files: MRTD, RTMR1 and RTMR2 as its guests have them."""
