"""What guests on other platforms than TDX give: read as far as it is judged, named in any case."""
